"""Where schedules are played: one real Postgres, the writers' sessions, and readers of one kind."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import NamedTuple, Self

import msgspec

from local.postgres import Postgres
from local.stack import temporary_directory
from tests.relay.recording import repeats
from tests.schedules.actor import Actor, Life, Pid
from tests.schedules.explorer import Choice, NotRepeatable
from tests.schedules.promises import Committed, broken_promises
from tests.schedules.reader import Reader, Sent, live
from tests.schedules.readers import KINDS, SUBSCRIPTIONS
from tests.schedules.script import Script
from tests.schedules.session import connect, patient_relays
from tests.schedules.waits import Waits
from tests.schedules.writer import FUNCTION, PARCELS, TABLE, Writer
from tests.servers import POSTGRES_SETTINGS, TEMPLATE, make_template, place
from tests.sql.log import one

# A server of its own, on which no other session's transaction is in any snapshot: so a schedule
# has the same outcome each time.
SETTINGS = POSTGRES_SETTINGS | {"autovacuum": "off"}


class Played(NamedTuple):
    """One schedule and what came of it.

    `path` names the sessions in the order of their steps, and where a step frees several that wait
    also the order in which they go on; `steps` says them in words; `waited`: some session had to
    wait for a lock.
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
        temporary_directory(place()) as directory,
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
TERMINATE = "select pg_terminate_backend(pid) from unnest(%s::integer[]) as running (pid)"
LAST_ID = "select coalesce(max(id), 0) from outbox.message"
COMMITTED = """
select id, idempotency_key, channel, type from outbox.message where id > %s order by id
"""


class Stage:
    """Plays schedules of one script before readers of one kind, one after the other.

    Each begins where the one before has ended: everything read, nobody's transaction open, and the
    groups' numbers go on.
    """

    def __init__(self, database_url: str, script: Script, kind: str) -> None:
        self._script = script
        with ExitStack() as opened:
            opened.enter_context(patient_relays())
            self._control = opened.enter_context(closing(connect(database_url)))
            for statement in (EMPTY, NO_SUBSCRIPTION):
                self._control.execute(statement)
            subscriptions = msgspec.json.encode(script.subscriptions).decode()
            subscribed = {"shards": script.shards, "subscriptions": subscriptions}
            self._control.execute(SUBSCRIPTIONS[kind], subscribed)
            self._control.execute(PARCELS, [script.groups])
            self._writers = [
                Writer(opened.enter_context(closing(connect(database_url)))) for _ in script.writers
            ]
            readers = KINDS[kind](database_url, script)
            opened.callback(readers.close)
            self._kind = readers
            self._readers: list[Reader] = []
            # The last one reads what the schedule has left.
            for alone in [False] * len(script.readers) + [True] * bool(script.lone) + [False]:
                self._readers.append(readers.open(script.limit, alone=alone))
                opened.callback(self._readers[-1].close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def play(self, choose: Choice) -> Played:
        """One schedule to its end, and what it owed. Raises SessionFailed and NotRepeatable."""
        self._kind.begin()
        last_id = one(self._control, LAST_ID)
        cut_off: list[list[Sent]] = []
        actors = self._actors(cut_off)
        try:
            path, steps, waited = self._step(actors, choose)
        finally:
            self._end(actors.values())
        try:
            self._readers[-1].drain()
        except Exception as fault:
            raise SessionFailed(
                f"{self._script.name}:{path}, read on, ended with {fault!r}"
            ) from fault
        arrived, again, broken = self._arrived(last_id, cut_off)
        return Played(path, steps, waited, len(arrived), again, arrived, broken)

    def _arrived(
        self, last_id: int, cut_off: Sequence[Sequence[Sent]]
    ) -> tuple[list[str], int, list[str]]:
        """What has arrived of the messages behind `last_id`, how many came again, and each promise
        that is broken; with their subscription, where there are several.
        """
        committed = self._control.execute(COMMITTED, [last_id]).fetchall()
        arrived, again, broken = list[str](), 0, list[str]()
        for subscription in self._script.subscriptions:
            name = f"{subscription.name} " if self._script.is_shared else ""
            arrivals = self._kind.arrivals.get(subscription.name, ())
            arrived += [f"{name}{one.idempotency_key}" for one in arrivals]
            again += repeats(arrivals)
            promises = broken_promises(
                [
                    Committed(id, key, subscription.wants(channel, type_))
                    for id, key, channel, type_ in committed
                ],
                arrivals,
                [[id for to, id in run if to == subscription.name] for run in cut_off],
            )
            broken += [f"{name}{promise}" for promise in promises]
        return arrived, again, broken

    def _end(self, actors: Collection[Actor]) -> None:
        """Also those that are in the middle of a step, where the schedule failed."""
        if running := [actor.pid() for actor in actors if actor.running]:
            self._control.execute(TERMINATE, [running])
        for actor in actors:
            actor.end()

    def _actors(self, cut_off: list[list[Sent]]) -> dict[str, Actor]:
        sessions = self._script.sessions
        lives: list[tuple[Life, Pid, bool]] = [
            *((writer.live, writer.pid, True) for writer in self._writers),
            *((partial(live, reader, cut_off), reader.pid, False) for reader in self._readers),
        ]
        return {
            name: Actor(name, steps, life, pid, stops_when_freed=stops)
            for (name, steps), (life, pid, stops) in zip(sessions.items(), lives, strict=False)
        }

    def _step(self, actors: dict[str, Actor], choose: Choice) -> tuple[str, list[str], bool]:
        waits = Waits(self._control, actors.values())
        path, steps, waited = "", list[str](), False
        while left := {
            name: actor.left for name, actor in actors.items() if actor.left and not actor.running
        }:
            name = choose(left)
            actor = actors[name]
            path += name
            steps.append(f"{name}: {actor.next}")
            try:
                actor.go()
                waits.settle(actor)
                if actor.waiting:
                    steps[-1] += " (waits)"
                    waited = True
                path += self._go_on(waits, choose, steps)
            except NotRepeatable:
                raise
            except Exception as fault:
                told = "".join(f"\n  {step}" for step in steps)
                raise SessionFailed(
                    f"{self._script.name}:{path} ended with {fault!r}{told}"
                ) from fault
        stuck = [name for name, actor in actors.items() if actor.running]
        if stuck:
            raise SessionFailed(f"{self._script.name}:{path} left {stuck} waiting for each other")
        return path, steps, waited

    def _go_on(self, waits: Waits, choose: Choice, steps: list[str]) -> str:
        """Those that a step has freed go on one after the other; the choices that it took."""
        path = ""
        while freed := {actor.name: actor for actor in waits.freed()}:
            name = next(iter(freed))
            if len(freed) > 1:
                # They would race for the next transaction id, and what is read depends on that.
                assert all(actor.stops_when_freed for actor in freed.values())
                name = choose({name: actor.left + 1 for name, actor in freed.items()})
                path += name
            steps.append(f"{name}: goes on")
            waits.go_on(freed[name])
        return path
