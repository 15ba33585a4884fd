"""Makes, pauses, resumes and deletes transient subscriptions, and notes in the same transactions
what each of them is owed: so that no answer that was lost leaves a doubt."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from tests.chaos import plan, topics, webhooks
from tests.chaos.places import NARROW, NARROW_BYTES, Places
from tests.chaos.snapshot import Snapshot
from tests.chaos.transients import DELETE, HTTP, MAKE, PAUSE, RESUME, Step, Transient
from tests.chaos.write_pause import WritePause

# For as long as no server is away, and no run holds a subscription, in the hardest of cases.
PATIENCE_SECONDS = 60
AGAIN_SECONDS = 0.2
TIMEOUTS = "set statement_timeout = '30s'; set lock_timeout = '20s'"

# `seen`: by the snapshot of the transaction that made it, all that it is not owed. `gone`: by that
# of the transaction that deleted it, when no relay was at work for it any more, all that it may
# have. The other two as they were then: what it had, but for what was to be tried again.
TABLES = """
create table chaos.transient (name text primary key, seen pg_snapshot not null, gone pg_snapshot);
create table chaos.transient_position (name text, priority smallint, channel text,
                                       seen pg_snapshot not null);
create table chaos.transient_undelivered (name text, message_id bigint)
"""


def set_up(here: Places, those: Sequence[Transient]) -> None:
    """The tables of what is owed, and all topics: made one by one they would take too long."""
    with here.connect() as session:
        session.execute(TABLES)
    narrow = {"max.message.bytes": str(NARROW_BYTES)}
    wanted = {
        topic: narrow if channel == NARROW else {}
        for one in those
        for topic, channel in one.topics.items()
    }
    topics.make(here.bootstrap_servers, wanted)


class Turnover(threading.Thread):
    """Takes the steps in their order, late where it must; in the end it resumes what is paused.

    `done` counts what was done; `fault` is what ended it before its time.
    """

    def __init__(
        self, here: Places, steps: Sequence[Step], write_pause: WritePause, stop: threading.Event
    ) -> None:
        super().__init__(name="turnover of subscriptions", daemon=True)
        self.done: Counter[str] = Counter()
        self.fault: BaseException | None = None
        self._here = here
        self._steps = steps
        self._write_pause = write_pause
        self._stop_asked = stop
        self._paused: set[Transient] = set()
        self._deeds = {MAKE: _make, PAUSE: _pause, RESUME: _resume, DELETE: _delete}

    def run(self) -> None:
        try:
            began = time.monotonic()
            for step in self._steps:
                if self._stop_asked.wait(max(0, began + step.at_seconds - time.monotonic())):
                    break
                self._write_pause.wait_out(self._stop_asked)
                self._take(step.deed, step.transient)
            self._stop_asked.wait()
            for one in list(self._paused):
                self._take(RESUME, one)
        except BaseException as fault:
            self.fault = fault

    def _take(self, deed: str, one: Transient) -> None:
        """Again while the server is away or a run holds the subscription. Raises its last error."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._here.connect() as session:
                    session.execute(TIMEOUTS)
                    self.done[deed] += self._deeds[deed](self._here, session, one)
                break
            except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)
        if deed == PAUSE:
            self._paused.add(one)
        else:
            self._paused.discard(one)


Session = psycopg.Connection[Any]

NOTE_MADE = """
insert into chaos.transient (name, seen) values (%s, pg_current_snapshot())
on conflict do nothing returning true
"""
SUBSCRIBE = """
insert into outbox.subscription (name, kind, channels, types, settings)
values (%s, %s, %s, %s, %s)
"""
# The endpoint knows one secret.
SHARE_SECRET = """
update outbox.secret set key = shared.key
from outbox.secret as shared, outbox.subscription as sharing, outbox.subscription as made
where shared.subscription_id = sharing.id and sharing.name = %s
  and secret.subscription_id = made.id and made.name = %s
"""


def _make(here: Places, session: Session, one: Transient) -> bool:
    """One snapshot for the whole transaction: that of the note is the one that counts."""
    settings = (
        webhooks.settings(here.ports[plan.ENDPOINT], one.path, max_bytes=NARROW_BYTES)
        if one.kind == HTTP
        else {"topic_prefix": one.prefix}
    )
    channels, types = (None if names is None else list(names) for names in one[2:])
    session.isolation_level = IsolationLevel.REPEATABLE_READ
    with session.transaction():
        if session.execute(NOTE_MADE, [one.name]).fetchone() is None:
            return False
        session.execute(SUBSCRIBE, [one.name, one.kind, channels, types, Jsonb(settings)])
        if one.kind == HTTP:
            session.execute(SHARE_SECRET, [webhooks.WEBHOOKS, one.name])
    return True


SET_PAUSED = "update outbox.subscription set paused = %s where name = %s and paused <> %s"


def _pause(here: Places, session: Session, one: Transient) -> bool:
    return session.execute(SET_PAUSED, [True, one.name, True]).rowcount == 1


def _resume(here: Places, session: Session, one: Transient) -> bool:
    return session.execute(SET_PAUSED, [False, one.name, False]).rowcount == 1


LOCK = """
select cursor.id from outbox.cursor join outbox.subscription on subscription.id = subscription_id
where name = %s order by cursor.id for update of cursor
"""
NOTE_GONE = """
update chaos.transient set gone = pg_current_snapshot() where name = %s and gone is null
returning true
"""
NOTE_POSITIONS = """
insert into chaos.transient_position (name, priority, channel, seen)
select subscription.name, cursor.priority, cursor.channel, latest.seen
from outbox.cursor join outbox.subscription on subscription.id = subscription_id
cross join lateral (
    select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
) as latest
where name = %s
"""
NOTE_UNDELIVERED = """
insert into chaos.transient_undelivered (name, message_id)
select name, message_id
from outbox.delivery join outbox.cursor on cursor.id = cursor_id
join outbox.subscription on subscription.id = subscription_id
where name = %s
"""
UNSUBSCRIBE = "select outbox.delete_subscription(%s, discard_undelivered => true)"


def _delete(here: Places, session: Session, one: Transient) -> bool:
    with session.transaction():
        # The holder of a cursor may have made another one, a channel's, before it let go.
        for _ in range(2):
            session.execute(LOCK, [one.name])
        if session.execute(NOTE_GONE, [one.name]).fetchone() is None:
            return False
        session.execute(NOTE_POSITIONS, [one.name])
        session.execute(NOTE_UNDELIVERED, [one.name])
        session.execute(UNSUBSCRIBE, [one.name])
    return True


class Owed(NamedTuple):
    """What the tables say of one. `positions`: of each priority and channel cursor's channel."""

    seen: Snapshot
    gone: Snapshot | None
    positions: dict[tuple[int, str | None], Snapshot]
    undelivered: frozenset[int]


READ = "select name, seen::text, gone::text from chaos.transient"
READ_POSITIONS = "select name, priority, channel, seen::text from chaos.transient_position"
READ_UNDELIVERED = "select name, message_id from chaos.transient_undelivered"


def read(here: Places) -> dict[str, Owed]:
    """What each that was made is owed, by name."""
    with here.connect() as session:
        positions = session.execute(READ_POSITIONS).fetchall()
        undelivered = session.execute(READ_UNDELIVERED).fetchall()
        return {
            name: Owed(
                Snapshot.parse(seen),
                Snapshot.parse(gone) if gone else None,
                {
                    (priority, channel): Snapshot.parse(position)
                    for owner, priority, channel, position in positions
                    if owner == name
                },
                frozenset(id_ for owner, id_ in undelivered if owner == name),
            )
            for name, seen, gone in session.execute(READ)
        }
