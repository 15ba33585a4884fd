"""Strikes as planned: for each target a thread of its own, which also mends what it broke."""

import threading
import time
from collections.abc import Callable, Sequence
from random import Random

import psycopg

from tests.chaos import plan
from tests.chaos.pauses import Injected
from tests.chaos.places import Places
from tests.chaos.plan import Strike

SLOW_BYTES_PER_SECOND = 30_000
LOOK_SECONDS = 0.2
# What ends by itself is started again, as a supervisor does, and told.
SUPERVISED = (*plan.RELAYS, plan.SERVICE, plan.ENDPOINT)
# What came back gets on with its work before it is struck again, however late it came.
REST_SECONDS = 1.5

RELAY_BACKENDS = """
select pid from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%' order by pid
"""
TERMINATE = "select pg_terminate_backend(%s)"


class Missed(Exception):
    """There was nothing to strike."""


class Assailant(threading.Thread):
    """Strikes one target, one strike after the other.

    `injected` and `kills`: what was done; `missed`: faults that found no victim; `faults`: programs
    that ended by themselves, a sentence each; `failure`: why it could not go on.
    """

    def __init__(
        self,
        here: Places,
        target: str,
        strikes: Sequence[Strike],
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"assailant of {target}", daemon=True)
        self.injected: list[Injected] = []
        self.kills = 0
        self.missed: list[str] = []
        self.faults: list[str] = []
        self.failure: Exception | None = None
        self._here = here
        self._target = target
        self._strikes = strikes
        self._tell = tell
        self._stop_asked = stop
        self._began = time.monotonic()
        self._random = Random(len(strikes))
        self._inflict = {
            "kill": self._kill,
            "freeze": self._freeze,
            "cut": self._cut,
            "mute": self._mute,
            "stall": self._stall,
            "slow": self._slow,
            "end": self._end,
            "old": self._old,
        }

    def run(self) -> None:
        try:
            if self._target in SUPERVISED:
                self._here.await_work(self._target, self._stop_asked)
            rested_at = time.monotonic() + REST_SECONDS
            for strike in self._strikes:
                if not self._watch_until(max(self._began + strike.at_seconds, rested_at)):
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

    def _supervise(self) -> None:
        if self._target in SUPERVISED and not self._here.programs[self._target].running:
            program = self._here.programs[self._target]
            status = program.wait(1)
            self.faults.append(f"{self._target} ended by itself with {status}")
            self._tell(self.faults[-1])
            program.launch()

    def _strike(self, strike: Strike) -> None:
        self._tell(f"{strike.fault.name} {strike.target} {strike.seconds:.1f} s")
        began = time.monotonic()
        try:
            self._inflict[strike.fault.name.partition("-")[0]](strike)
        except (Missed, psycopg.OperationalError) as missed:
            self.missed.append(strike.fault.name)
            self._tell(f"{strike.fault.name} missed: {missed}")
            return
        self.kills += strike.fault.kills
        self.injected.append(Injected(strike.fault.name, strike.target, began, time.monotonic()))
        self._tell(f"{strike.fault.name} {strike.target} is over")
        if strike.target in SUPERVISED:
            # On a busy machine a start takes long, and killing what has not begun shows nothing.
            self._here.await_work(strike.target, self._stop_asked)

    def _kill(self, strike: Strike) -> None:
        server = self._here.server(strike.target)
        server.kill()
        self._stop_asked.wait(strike.seconds)
        server.launch()

    def _freeze(self, strike: Strike) -> None:
        server = self._here.server(strike.target)
        server.pause()
        try:
            self._stop_asked.wait(strike.seconds)
        finally:
            server.resume()

    def _cut(self, strike: Strike) -> None:
        self._here.wires[strike.target].cut()

    def _mute(self, strike: Strike) -> None:
        """What was asked for is done, and nobody learns of it."""
        wire = self._here.wires[strike.target]
        wire.mute()
        self._stop_asked.wait(strike.seconds)
        wire.cut()
        wire.flow()

    def _stall(self, strike: Strike) -> None:
        wire = self._here.wires[strike.target]
        wire.stall()
        self._stop_asked.wait(strike.seconds)
        wire.flow()

    def _slow(self, strike: Strike) -> None:
        wire = self._here.wires[strike.target]
        wire.slow(SLOW_BYTES_PER_SECOND)
        self._stop_asked.wait(strike.seconds)
        wire.flow()

    def _end(self, strike: Strike) -> None:
        with self._here.connect() as session:
            backends = [pid for (pid,) in session.execute(RELAY_BACKENDS)]
            if not backends:
                raise Missed("no relay is connected")
            session.execute(TERMINATE, [self._random.choice(backends)])

    def _old(self, strike: Strike) -> None:
        """Ends early where Postgres is killed meanwhile."""
        with self._here.connect() as session, session.transaction():
            session.execute("set transaction isolation level repeatable read")
            session.execute("select count(*) from chaos.parcel")
            self._stop_asked.wait(strike.seconds)


def assailants(
    here: Places, strikes: Sequence[Strike], tell: Callable[[str], None], stop: threading.Event
) -> list[Assailant]:
    """One for each target, and for each program that is to be watched; not yet started."""
    return [
        Assailant(
            here, target, [strike for strike in strikes if strike.target == target], tell, stop
        )
        for target in plan.TARGETS
    ]
