"""Where schedules are played: one real Postgres, the writers' sessions, and readers of one kind."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, Self

from local.postgres import Postgres
from local.stack import temporary_directory
from tests.relay.recording import repeats
from tests.schedules.actor import Actor, Life, Pid
from tests.schedules.explorer import Choice
from tests.schedules.promises import Committed, broken_promises
from tests.schedules.reader import Reader, live
from tests.schedules.readers import KINDS, SUBSCRIPTIONS
from tests.schedules.script import Script
from tests.schedules.session import connect
from tests.schedules.writer import FUNCTION, PARCELS, TABLE, Writer
from tests.servers import POSTGRES_SETTINGS, TEMPLATE, make_template

# A server of its own, on which no other session's transaction is in any snapshot: so a schedule
# has the same outcome each time.
SETTINGS = POSTGRES_SETTINGS | {"autovacuum": "off"}
# After this a step that is not over is looked at: does it wait for a lock? Most take less.
PATIENCE_SECONDS = 0.003
STEP_TIMEOUT_SECONDS = 30.0


class Played(NamedTuple):
    """One schedule and what came of it.

    `path` names the sessions in the order of their steps, `steps` says them in words; `waited`:
    some session had to wait for a lock.
    """

    path: str
    steps: list[str]
    waited: bool
    deliveries: int
    repeats: int
    arrived: list[str]
    broken: list[str]


class SessionFailed(Exception):
    """A session raised something, or waits for ever; told with the schedule so far."""


@contextmanager
def prepared_database() -> Iterator[str]:
    """The URL of a migrated database on a new server, with what the writers need."""
    with (
        temporary_directory() as directory,
        Postgres.start(directory / "postgres", settings=SETTINGS) as postgres,
    ):
        make_template(postgres)
        url = postgres.dsn(TEMPLATE)
        with connect(url) as session:
            session.execute(TABLE)
            session.execute(FUNCTION)
        yield url


EMPTY = "truncate outbox.message, outbox.checkpoint, outbox.delivery, parcel"
NO_SUBSCRIPTION = "select outbox.delete_subscription(name, true) from outbox.subscription"
COMMITTED = "select id, idempotency_key from outbox.message where id > %s order by id"
WAITS = "select cardinality(pg_blocking_pids(%s)) > 0"


class Stage:
    """Plays schedules of one script before readers of one kind, one after the other.

    Each begins where the one before has ended: everything read, nobody's transaction open, and the
    groups' numbers go on.
    """

    def __init__(self, database_url: str, script: Script, kind: str) -> None:
        self._script = script
        with ExitStack() as opened:
            self._control = opened.enter_context(connect(database_url))
            for statement in (EMPTY, NO_SUBSCRIPTION):
                self._control.execute(statement)
            self._control.execute(SUBSCRIPTIONS[kind], [script.shards])
            self._control.execute(PARCELS, [script.groups])
            self._writers = [
                Writer(opened.enter_context(connect(database_url))) for _ in script.writers
            ]
            readers = KINDS[kind](database_url)
            opened.callback(readers.close)
            self._kind = readers
            self._readers: list[Reader] = []
            # The last one reads what the schedule has left.
            for _ in range(len(script.readers) + 1):
                self._readers.append(readers.open(script.limit))
                opened.callback(self._readers[-1].close)
            self._opened = opened.pop_all()
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def play(self, choose: Choice) -> Played:
        """One schedule to its end, and what it owed. Raises SessionFailed and NotRepeatable."""
        self._kind.begin()
        cut_off: list[list[int]] = []
        actors = self._actors(cut_off)
        try:
            path, steps, waited = self._step(actors, choose)
        finally:
            for actor in actors.values():
                actor.end()
        self._readers[-1].drain()
        committed = [Committed(*row) for row in self._control.execute(COMMITTED, [self._last_id])]
        self._last_id = max((one.id for one in committed), default=self._last_id)
        broken = broken_promises(committed, self._kind.arrivals, cut_off)
        arrived = [one.idempotency_key for one in self._kind.arrivals]
        again = repeats(self._kind.arrivals)
        return Played(path, steps, waited, len(arrived), again, arrived, broken)

    def _actors(self, cut_off: list[list[int]]) -> dict[str, Actor]:
        sessions = self._script.sessions
        lives: list[tuple[Life, Pid]] = [
            *((writer.live, writer.pid) for writer in self._writers),
            *((partial(live, reader, cut_off), reader.pid) for reader in self._readers),
        ]
        return {
            name: Actor(name, steps, life, pid)
            for (name, steps), (life, pid) in zip(sessions.items(), lives, strict=False)
        }

    def _step(self, actors: dict[str, Actor], choose: Choice) -> tuple[str, list[str], bool]:
        path, steps, waited = "", [], False
        while left := {
            name: actor.left for name, actor in actors.items() if actor.left and not actor.running
        }:
            name = choose(left)
            actor = actors[name]
            path += name
            steps.append(f"{name}: {actor.next}")
            actor.go()
            try:
                self._settle([actor])
                if actor.waiting:
                    steps[-1] += " (waits)"
                    waited = True
                self._settle(other for other in actors.values() if other is not actor)
            except Exception as fault:
                told = "".join(f"\n  {step}" for step in steps)
                raise SessionFailed(
                    f"{self._script.name}:{path} ended with {fault!r}{told}"
                ) from fault
        stuck = [name for name, actor in actors.items() if actor.running]
        if stuck:
            raise SessionFailed(f"{self._script.name}:{path} left {stuck} waiting for each other")
        return path, steps, waited

    def _settle(self, actors: Iterable[Actor]) -> None:
        """Returns when each step is over, or its session waits for a lock of another."""
        for actor in actors:
            ends_at = time.monotonic() + STEP_TIMEOUT_SECONDS
            patience_seconds = 0.0 if actor.waiting else PATIENCE_SECONDS
            while actor.running and not actor.over(patience_seconds):
                row = self._control.execute(WAITS, [actor.pid()]).fetchone()
                actor.waiting = row == (True,)
                if actor.waiting:
                    break
                if time.monotonic() > ends_at:
                    raise TimeoutError(f"{actor.name} neither ends its step nor waits for a lock")
                patience_seconds = PATIENCE_SECONDS
