"""Strikes as planned: for each target a thread of its own, which also repairs what it broke."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from tests.chaos import plan
from tests.chaos.faults import LOOK_SECONDS, Faults, Missed
from tests.chaos.pauses import Injected
from tests.chaos.places import Places
from tests.chaos.plan import Strike

# What ends by itself is started again, as a supervisor does, and told.
SUPERVISED = (*plan.RELAYS, plan.SERVICE, plan.ENDPOINT)
# What came back gets on with its work before it is struck again, however late it came.
REST_SECONDS = 1.5


class Injector(threading.Thread):
    """Strikes one target, one strike after the other.

    `injected` and `kills`: what was done; `missed`: faults that found no victim; `faults`: programs
    that ended by themselves or did not come back, a sentence each; `failure`: why it could not go
    on. `turns`: of each target, held by the strike that needs it for itself.
    """

    def __init__(
        self,
        here: Places,
        target: str,
        strikes: Sequence[Strike],
        faults: Faults,
        turns: Mapping[str, threading.Lock],
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"injector of {target}", daemon=True)
        self.injected: list[Injected] = []
        self.kills = 0
        self.missed: list[str] = []
        self.faults: list[str] = []
        self.failure: Exception | None = None
        self._here = here
        self._target = target
        self._strikes = strikes
        self._faults = faults
        self._turns = turns
        self._tell = tell
        self._stop_asked = stop
        self._began = time.monotonic()

    def run(self) -> None:
        try:
            if self._target in SUPERVISED:
                self._here.await_work(self._target, self._stop_asked)
            rested_at = time.monotonic() + REST_SECONDS
            for strike in self._strikes:
                if not self._watch_until(max(self._began + strike.at_seconds, rested_at)):
                    return
                with ExitStack() as held:
                    if not self._take_turns(strike, held):
                        return
                    self._strike(strike)
                rested_at = time.monotonic() + REST_SECONDS
            while not self._stop_asked.is_set():
                self._watch_until(time.monotonic() + 1)
        except Exception as failure:
            self.failure = failure

    def _watch_until(self, at: float) -> bool:
        """Whether it is time, False where the campaign is over first."""
        while not self._stop_asked.is_set():
            self._supervise()
            left = at - time.monotonic()
            if left <= 0:
                return True
            self._stop_asked.wait(min(left, LOOK_SECONDS))
        return False

    def _take_turns(self, strike: Strike, held: ExitStack) -> bool:
        """The plan keeps strikes apart; on a busy machine they last longer than it knows.

        False where the campaign is over first.
        """
        wanted = {strike.target, *strike.fault.besides}
        # In one order, so that no two wait for each other.
        for turn in (self._turns[target] for target in plan.TARGETS if target in wanted):
            while not turn.acquire(timeout=LOOK_SECONDS):
                self._supervise()
                if self._stop_asked.is_set():
                    return False
            held.callback(turn.release)
        return not self._stop_asked.is_set()

    def _supervise(self) -> None:
        if self._target in SUPERVISED and not self._here.programs[self._target].running:
            program = self._here.programs[self._target]
            status = program.wait(1)
            self._blame(f"{self._target} ended by itself with {status}")
            program.launch()

    def _strike(self, strike: Strike) -> None:
        self._tell(f"{strike.fault.name} {strike.target} {strike.seconds:.1f} s")
        began = time.monotonic()
        try:
            self._faults.inflict(strike)
        except Missed as missed:
            self.missed.append(strike.fault.name)
            self._tell(f"{strike.fault.name} missed: {missed}")
            return
        self.kills += strike.fault.kills
        self.injected.append(Injected(strike.fault.name, strike.target, began, time.monotonic()))
        self._tell(f"{strike.fault.name} {strike.target} is over")
        for fault in self._faults.await_return(strike):
            self._blame(fault)

    def _blame(self, fault: str) -> None:
        self.faults.append(fault)
        self._tell(fault)


def injectors(
    here: Places,
    strikes: Sequence[Strike],
    faults: Faults,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> list[Injector]:
    """One for each target, and for each program that is to be watched; not yet started."""
    turns = {target: threading.Lock() for target in plan.TARGETS}

    def own(target: str) -> list[Strike]:
        return [strike for strike in strikes if strike.target == target]

    return [
        Injector(here, target, own(target), faults, turns, tell, stop) for target in plan.TARGETS
    ]
