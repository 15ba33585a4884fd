"""Strikes as planned: for each target a thread of its own, which also mends what it broke."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import psycopg

from tests.chaos import plan
from tests.chaos.hush import Hush
from tests.chaos.pauses import Injected
from tests.chaos.places import LATE, SUBSCRIPTIONS, Places
from tests.chaos.plan import Strike

SLOW_BYTES_PER_SECOND = 30_000
LOOK_SECONDS = 0.2
# What ends by itself is started again, as a supervisor does, and told.
SUPERVISED = (*plan.RELAYS, plan.SERVICE, plan.ENDPOINT)
# What came back gets on with its work before it is struck again, however late it came.
REST_SECONDS = 1.5
# Until all have left the former primary: the longest freeze of a relay is under it.
LEAVE_TIMEOUT_SECONDS = 20
# It is quiet when nothing has been written or was to be delivered for so long.
QUIET_SECONDS = 1.0
QUIET_TIMEOUT_SECONDS = 30

RELAY_BACKENDS = """
select pid from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%' order by pid
"""
TERMINATE = "select pg_terminate_backend(%s)"
# The channel without a topic waits whatever happens.
QUIET = """
select not exists (
           select from outbox.cursor_backlog
           where subscription = any(%s) and channel is distinct from %s and messages > 0)
   and not exists (
           select from pg_stat_activity
           where backend_type = 'client backend' and backend_xid is not null
             and application_name not like 'outbox-relay%%')
"""


class Missed(Exception):
    """There was nothing to strike."""


class Assailant(threading.Thread):
    """Strikes one target, one strike after the other.

    `injected` and `kills`: what was done; `missed`: faults that found no victim; `faults`: programs
    that ended by themselves or did not come back, a sentence each; `failure`: why it could not go
    on.
    """

    def __init__(
        self,
        here: Places,
        target: str,
        strikes: Sequence[Strike],
        hush: Hush,
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
        self._hush = hush
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
            "switch": self._switch,
            "rest": self._rest,
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
            self._blame(f"{self._target} ended by itself with {status}")
            program.launch()

    def _blame(self, fault: str) -> None:
        self.faults.append(fault)
        self._tell(fault)

    def _strike(self, strike: Strike) -> None:
        self._tell(f"{strike.fault.name} {strike.target} {strike.seconds:.1f} s")
        began = time.monotonic()
        try:
            self._inflict[strike.fault.name.partition("-")[0]](strike)
        except Missed as missed:
            self.missed.append(strike.fault.name)
            self._tell(f"{strike.fault.name} missed: {missed}")
            return
        self.kills += strike.fault.kills
        self.injected.append(Injected(strike.fault.name, strike.target, began, time.monotonic()))
        self._tell(f"{strike.fault.name} {strike.target} is over")
        if strike.target in SUPERVISED:
            # On a busy machine a start takes long, and killing what has not begun shows nothing.
            self._here.await_work(strike.target, self._stop_asked)
        if strike.fault.name == "switch-postgres":
            self._renew_standby()

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

    def _switch(self, strike: Strike) -> None:
        """Between two primaries there is none for a while. What committed is on the next one."""
        pair = self._here.pair
        pair.fence()
        pair.end_transactions()
        pair.switch()
        self._stop_asked.wait(strike.seconds)
        pair.promote()

    def _renew_standby(self) -> None:
        """All have to leave the former primary by themselves: it is there until they have."""
        for program in (*plan.RELAYS, plan.SERVICE):
            if not self._here.await_work(program, self._stop_asked, LEAVE_TIMEOUT_SECONDS):
                if self._stop_asked.is_set():
                    return
                self._blame(f"{program} did not go on at the new primary")
        self._here.pair.rejoin()

    def _rest(self, strike: Strike) -> None:
        """The broker is gone and back before there is anything to send again."""
        kafka = self._here.server(strike.target)
        with self._hush.kept():
            self._await_quiet()
            kafka.stop()
            self._stop_asked.wait(strike.seconds)
            kafka.launch()

    def _await_quiet(self) -> None:
        """Raises Missed where it does not come to that."""
        began = loud_at = time.monotonic()
        while (now := time.monotonic()) < loud_at + QUIET_SECONDS:
            if self._stop_asked.wait(LOOK_SECONDS) or now > began + QUIET_TIMEOUT_SECONDS:
                raise Missed("it was never quiet")
            if not self._is_quiet():
                loud_at = time.monotonic()

    def _is_quiet(self) -> bool:
        names = [subscription.name for subscription in SUBSCRIPTIONS]
        try:
            with self._here.connect() as session:
                ((quiet,),) = session.execute(QUIET, [names, LATE])
        except psycopg.OperationalError:
            return False
        return bool(quiet)

    def _end(self, strike: Strike) -> None:
        with self._session() as session:
            backends = [pid for (pid,) in session.execute(RELAY_BACKENDS)]
            if not backends:
                raise Missed("no relay is connected")
            session.execute(TERMINATE, [self._random.choice(backends)])

    def _old(self, strike: Strike) -> None:
        """Ends early where Postgres is killed meanwhile."""
        with self._session() as session, session.transaction():
            session.execute("set transaction isolation level repeatable read")
            session.execute("select count(*) from chaos.parcel")
            self._stop_asked.wait(strike.seconds)

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """Raises Missed where Postgres is away, or goes."""
        try:
            with self._here.connect() as session:
                yield session
        except psycopg.OperationalError as error:
            raise Missed(str(error)) from error


def assailants(
    here: Places,
    strikes: Sequence[Strike],
    hush: Hush,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> list[Assailant]:
    """One for each target, and for each program that is to be watched; not yet started."""

    def own(target: str) -> list[Strike]:
        return [strike for strike in strikes if strike.target == target]

    return [Assailant(here, target, own(target), hush, tell, stop) for target in plan.TARGETS]
