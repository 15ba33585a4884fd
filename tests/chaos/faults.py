"""How each fault is inflicted, and when what it struck counts as back."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import psycopg

from tests.chaos import plan
from tests.chaos.heartbeat import Watcher
from tests.chaos.places import LATE, Places
from tests.chaos.plan import Strike
from tests.chaos.write_pause import WritePause

SLOW_BYTES_PER_SECOND = 30_000
LOOK_SECONDS = 0.2
# A program that works at the new primary within this has left the former one by itself; a relay
# may be frozen, killed and started again meanwhile.
LEAVE_SECONDS = 30
# A relay gives up a call to Kafka that has not returned by then: that late is too late.
RETURN_SECONDS = 15
# It is quiet when nothing was written, nor was to be delivered, for so long.
QUIET_SECONDS = 1.0
QUIET_TIMEOUT_SECONDS = 30

RELAY_BACKENDS = """
select pid from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%' order by pid
"""
TERMINATE = "select pg_terminate_backend(%s)"
# A channel without a topic waits whatever happens, and so does what is paused.
QUIET = """
select not exists (
           select from outbox.cursor_backlog as backlog
           join outbox.subscription on subscription.name = backlog.subscription
           where subscription.kind = 'kafka' and not subscription.paused
             and backlog.channel is distinct from %s and backlog.messages > 0)
   and not exists (
           select from pg_stat_activity
           where backend_type = 'client backend' and backend_xid is not null
             and application_name not like 'outbox-relay%%')
"""


class Missed(Exception):
    """There was nothing to strike."""


class Faults:
    """All of them, over one campaign's places."""

    def __init__(
        self,
        here: Places,
        watchers: Sequence[Watcher],
        write_pause: WritePause,
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._here = here
        self._watchers = watchers
        self._write_pause = write_pause
        self._tell = tell
        self._stop_asked = stop
        self._random = Random(0)
        self._ways = {
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

    def inflict(self, strike: Strike) -> None:
        """Returns when it is over. Raises Missed, and StartError where a server stays away."""
        self._ways[strike.fault.name.partition("-")[0]](strike)

    def await_return(self, strike: Strike) -> list[str]:
        """Until what was struck is at work; of what does not get there in time, a sentence each."""
        if strike.target in self._here.programs:
            # On a busy machine a start takes long, and killing what has not begun shows nothing.
            self._here.await_work(strike.target, self._stop_asked)
        if strike.fault.name == "switch-postgres":
            return self._leave_former()
        if strike.fault.name == "rest-kafka":
            return self._await_beats()
        return []

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
        """The server does what was asked for, and its answers do not arrive."""
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

    def _leave_former(self) -> list[str]:
        """The former primary keeps its connections until every program has left it by itself."""
        programs = (*plan.RELAYS, plan.SERVICE)
        away = [name for name in programs if not self._works(name)]
        if self._stop_asked.is_set():
            return []
        self._here.pair.rejoin()
        self._tell("the former primary is the standby")
        return [f"{name} did not go on at the new primary" for name in away]

    def _works(self, program: str) -> bool:
        return self._here.await_work(program, self._stop_asked, LEAVE_SECONDS)

    def _rest(self, strike: Strike) -> None:
        """The broker is gone and back before there is anything to send again."""
        kafka = self._here.server(strike.target)
        with self._write_pause.held():
            self._await_quiet()
            self._tell("it is quiet")
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
        with self._session() as session:
            ((quiet,),) = session.execute(QUIET, [LATE])
        return bool(quiet)

    def _await_beats(self) -> list[str]:
        """The first messages after the quiet go soon, in each delivery."""
        began = time.monotonic()
        while late := [each for each in self._watchers if not each.saw_all_since(began)]:
            if time.monotonic() > began + RETURN_SECONDS:
                return [f"{each.name} saw none within {RETURN_SECONDS} s" for each in late]
            if self._stop_asked.wait(LOOK_SECONDS):
                break
        return []

    def _end(self, strike: Strike) -> None:
        with self._session() as session:
            backends = [pid for (pid,) in session.execute(RELAY_BACKENDS)]
            if not backends:
                raise Missed("no relay is connected")
            session.execute(TERMINATE, [self._random.choice(backends)])

    def _old(self, strike: Strike) -> None:
        """Ends early where Postgres is killed or switched over meanwhile."""
        with self._session() as session, session.transaction():
            session.execute("set transaction isolation level repeatable read")
            session.execute("select count(*) from chaos.parcel")
            self._stop_asked.wait(strike.seconds)

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """On the primary. Raises Missed where it is away, or goes."""
        try:
            with self._here.connect() as session:
                yield session
        except psycopg.OperationalError as error:
            raise Missed(str(error)) from error
