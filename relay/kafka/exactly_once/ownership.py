"""Exactly once: a run's cursor is committed with its messages, in one transaction of the sink.

A crash between that commit and Postgres's leaves one run in doubt, and never two: the next owner
fences the former one, reads what its last transaction noted, and writes the checkpoint after it.
"""

import time
from collections.abc import Iterable
from typing import Any, LiteralString

import structlog

from relay.database import Connection
from relay.kafka import redriven
from relay.kafka.exactly_once.disk import Disk
from relay.kafka.exactly_once.record import (
    DEAD_CHARACTERS,
    MAX_CHARACTERS,
    Record,
    Unreadable,
    decode,
    encode,
    noted,
    restored,
)
from relay.log.checkpoint import Next, position_at, write
from relay.log.claim import Claimed
from relay.log.cursor import Cursor
from relay.log.dead_letters import write_dead_letters
from relay.log.message import exists
from relay.log.position import Delta, Position
from relay.log.sink import GENERATION, Outcome, Transactions
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

logger = structlog.get_logger()

# Fencing costs 0.1 to 0.6 s each time: an owner that gets on keeps its cursor. Where it costs more,
# as on a busy machine or just after a broker's return, others wait longer: two relays that take a
# cursor from each other before either has committed get nowhere.
TAKE_OVER_SECONDS = 1.0
TAKE_OVER_FENCES = 4.0
LONGEST_TAKE_OVER_SECONDS = 5.0
# Snapshots whose text is no longer than this always fit.
SMALL_CHARACTERS = 2000
TELL_SECONDS = 60.0

# What a claim reads besides.
KNOWN_AS: LiteralString = """
select c.generation, c.noted from outbox.cursor c where c.id = %(cursor)s::bigint
"""
NOTED = "update outbox.cursor set noted = true where id = %(cursor)s"
RENAME = """
update outbox.cursor set generation = generation + 1, noted = noted and %(noted)s::boolean
where id = %(cursor)s
"""


class ExactlyOnce:
    """The cursors of one subscription, over one connection and one sink's transactions."""

    def __init__(
        self,
        connection: Connection,
        transactions: Transactions,
        settings: Settings,
        telemetry: Telemetry,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._connection = connection
        self._disk = Disk(settings, heartbeat)
        self._transactions = transactions
        self._relay = settings.name
        self._telemetry = telemetry
        # Cursors of other relays that have work: the checkpoint, and since when it is the latest.
        self._waiting: dict[int, tuple[int, float]] = {}
        self._fence_seconds = 0.0
        self._told_at: dict[int, float] = {}
        # Of these Kafka held no note when they were fenced, and none was committed since.
        self._unnoted: set[int] = set()

    def defer_to_other(self, cursor: Cursor) -> bool:
        """Whether another relay worked on it last, and its work has not waited for long."""
        if cursor.relay in ("", self._relay):
            return False
        n, since = self._waiting.get(cursor.id, (None, 0.0))
        if n != cursor.n:
            since = time.monotonic()
            self._waiting[cursor.id] = (cursor.n, since)
        patience = max(TAKE_OVER_SECONDS, TAKE_OVER_FENCES * self._fence_seconds)
        return time.monotonic() < since + min(patience, LONGEST_TAKE_OVER_SECONDS)

    def has_moved_on(self, cursor: Cursor, claimed: Claimed) -> bool:
        """Whether another relay got on with it between the probe and the claim."""
        return claimed.n != cursor.n and claimed.relay not in ("", self._relay)

    def adopt(self, cursor: Cursor, claimed: Claimed) -> bool:
        """Makes this relay the claimed cursor's owner.

        True where the claim is over: the run in doubt had happened, and its checkpoint is written
        and committed; or it is the first time, which has to be known before anything is in doubt.
        """
        name = _generation_name(claimed, cursor.id)
        if self._transactions.take(name, claimed.token):
            return False
        began_at = time.monotonic()
        note = self._transactions.fence(name)
        self._fence_seconds = time.monotonic() - began_at
        if not note:
            return self._go_on_without_note(cursor, claimed)
        self._unnoted.discard(cursor.id)
        record = self._read(note, cursor)
        follows = record is not None and _follows(record, claimed)
        if record is not None and follows and remembers(self._connection, cursor, record):
            self._adopt(cursor, claimed, record)
            self._transactions.own(record.token)
            return True
        if record is not None and (follows or _contradicts(record, claimed)):
            self._refuse(cursor, claimed, record)
        self._transactions.own(claimed.token)
        return False

    def check_snapshots_fit(self, cursor: Cursor, position: Position) -> bool:
        """Whether both snapshots fit into what a transaction can note; tells where they don't."""
        delta = position.delta
        if delta is None or len(position.seen) + len(delta.target) <= SMALL_CHARACTERS:
            return True
        most = 2**63 - 1
        longest = Position(position.seen, Delta(delta.target, most, most, most))
        record = Record("F" * 8, most, most, most, most, most, longest)
        if len(encode(record)) + DEAD_CHARACTERS <= MAX_CHARACTERS:
            return True
        if time.monotonic() >= self._told_at.get(cursor.id, float("-inf")) + TELL_SECONDS:
            self._told_at[cursor.id] = time.monotonic()
            self._telemetry.fault(cursor.subscription, "snapshot")
            logger.warning(
                "snapshot_too_large",
                subscription=cursor.subscription,
                cursor=cursor.id,
                open_transactions=delta.target.count(",") + 1,
                hint="end open transactions (sql/inspect/horizon.sql names them); where none are "
                "left, deliver at_least_once until the next checkpoint",
            )
        return False

    def commit(
        self,
        cursor: Cursor,
        claimed: Claimed,
        checkpoint: Next,
        outcome: Outcome,
        redriven_ids: tuple[int, ...] = (),
    ) -> None:
        """Commits the run's messages; with them the checkpoint that Postgres gets next.

        Where `redriven_ids` were sent the cursor stays where it stands. Raises SinkAway and
        psycopg.OperationalError.
        """
        record = Record(
            **_follow(claimed, checkpoint),
            position=None if redriven_ids else checkpoint.position,
            redriven=redriven_ids,
            dead=() if redriven_ids else noted(outcome.dead),
            last_id=outcome.last_id,
            last_at=outcome.created_at[-1],
        )
        self._commit(cursor, claimed, record)

    def commit_nothing(self, cursor: Cursor, claimed: Claimed, checkpoint: Next) -> None:
        """Commits a checkpoint that stands where the claimed one does, without a message.

        It shows that no other owner has committed a run since. Raises as `commit`.
        """
        self._transactions.begin()
        self._commit(cursor, claimed, Record(**_follow(claimed, checkpoint), position=None))

    def forget(self, claimed: Claimed, cursor_ids: Iterable[int]) -> None:
        """These cursors are gone."""
        for cursor_id in cursor_ids:
            self._transactions.forget(_name(claimed, cursor_id))

    def rename(self, cursor: Cursor, claimed: Claimed) -> None:
        """The cursor's transactions have another name from the commit of this run on.

        For as long as a topic takes nothing, brokers can't end an aborted transaction that wrote to
        it, and let its owner begin no other. That owner ends here, before anybody can read the new
        name: whoever could still commit under the old one was fenced by it.
        """
        self._transactions.forget(_generation_name(claimed, cursor.id))
        values = {"cursor": cursor.id, "noted": cursor.id not in self._unnoted}
        self._connection.execute(RENAME, values)

    def own(self, checkpoint: Next) -> None:
        """For a checkpoint without messages, which Kafka never hears of."""
        self._transactions.own(checkpoint.token)

    def close(self) -> None:
        self._disk.close()

    def abort(self) -> bool:
        """The run is given up. Whether this relay is still the cursor's owner."""
        self._transactions.abort()
        return self._transactions.held

    def _commit(self, cursor: Cursor, claimed: Claimed, record: Record) -> None:
        assert claimed.origin is not None
        # What a crash of Postgres can take back must not lie behind a committed cursor: its
        # transaction ids will be used again.
        self._disk.reach(self._connection, claimed.origin.insert_lsn)
        self._unnoted.discard(cursor.id)
        self._transactions.commit(encode(record))
        self._transactions.own(record.token)

    def _go_on_without_note(self, cursor: Cursor, claimed: Claimed) -> bool:
        """Goes on from Postgres's checkpoint. Whether the claim is over."""
        self._transactions.own(claimed.token)
        was_noted = _is_noted(claimed)
        if cursor.id in self._unnoted and was_noted:
            return False
        self._unnoted.add(cursor.id)
        if not was_noted:
            self._connection.execute(NOTED, {"cursor": cursor.id})
            self._connection.execute("commit")
            return True
        self._telemetry.cursor_lost(cursor.subscription)
        logger.warning(
            "kafka_cursor_lost",
            subscription=cursor.subscription,
            cursor=cursor.id,
            ours=claimed.n,
            effect="if the last run was in doubt, it comes again, with the same keys",
            hint="none is needed; Kafka forgets a group's offsets after offsets.retention.minutes, "
            "or where somebody deletes the group or the topic",
        )
        return False

    def _read(self, note: str, cursor: Cursor) -> Record | None:
        try:
            return decode(note)
        except Unreadable as wrong:
            self._telemetry.cursor_refused(cursor.subscription)
            logger.warning("kafka_cursor_unreadable", cursor=cursor.id, fault=str(wrong))
            return None

    def _refuse(self, cursor: Cursor, claimed: Claimed, record: Record) -> None:
        """Another history of this database wrote it: after a restore, in a copy, or on a primary
        that is gone. Its snapshots say nothing about the transactions of this one.
        """
        self._telemetry.cursor_refused(cursor.subscription)
        logger.warning(
            "kafka_cursor_refused",
            subscription=cursor.subscription,
            cursor=cursor.id,
            ours=claimed.n,
            kafka=record.n,
            effect="what Kafka holds beyond our checkpoint comes again, with the same keys",
        )

    def _adopt(self, cursor: Cursor, claimed: Claimed, record: Record) -> None:
        where = record.position or position_at(self._connection, cursor, claimed.n)
        checkpoint = Next(record.n, record.token, where, record.messages, record.bytes)
        with self._connection.pipeline():
            write_dead_letters(self._connection, cursor, restored(record.dead))
            write(self._connection, cursor, self._relay, checkpoint)
            redriven.note_delivered(self._connection, cursor, record.redriven)
            self._connection.execute("commit")
        self._telemetry.cursor_adopted(cursor.subscription)
        logger.info(
            "kafka_cursor_adopted",
            subscription=cursor.subscription,
            cursor=cursor.id,
            messages=record.messages,
        )


def _name(claimed: Claimed, cursor_id: int) -> str:
    """What a cursor's group is called, and its transactions of the first generation."""
    assert claimed.origin is not None
    return f"outbox.{claimed.origin.installation}.{cursor_id}"


def _generation_name(claimed: Claimed, cursor_id: int) -> str:
    """What the claimed cursor's transactions are called now."""
    assert claimed.besides is not None
    generation = claimed.besides[0]
    return _name(claimed, cursor_id) + (f"{GENERATION}{generation}" if generation else "")


def _is_noted(claimed: Claimed) -> bool:
    """Whether a transaction of the claimed cursor may have been committed."""
    assert claimed.besides is not None
    return bool(claimed.besides[1])


def _follow(claimed: Claimed, checkpoint: Next) -> dict[str, Any]:
    """What a record says of a checkpoint, and of the one before it."""
    assert claimed.origin is not None
    return {
        "timeline": claimed.origin.timeline,
        "parent_n": claimed.n,
        "parent_token": claimed.token,
        "token": checkpoint.token,
        "messages": checkpoint.messages,
        "bytes": checkpoint.bytes,
    }


def _follows(record: Record, claimed: Claimed) -> bool:
    """Whether it is the run behind our latest checkpoint, in this history of this database."""
    assert claimed.origin is not None
    return (
        record.parent_n == claimed.n
        and record.parent_token == claimed.token
        and record.timeline == claimed.origin.timeline
    )


def _contradicts(record: Record, claimed: Claimed) -> bool:
    """Whether it is neither our latest checkpoint nor an older one: one without messages is ours
    alone, so that we may be ahead.
    """
    if record.n == claimed.n:
        return record.token != claimed.token
    return record.n > claimed.n


DEAD_LETTER_EXISTS = """
select exists (
    select from outbox.dead_letter
    where cursor_id = %(cursor)s and message_id = %(id)s
      and created_at = timestamptz '2000-01-01 00:00:00+00'
                       + %(written_at)s::bigint * interval '1 microsecond')
"""


def remembers(connection: Connection, cursor: Cursor, record: Record) -> bool:
    """Whether the last message of that run is in this database, in the log or as a dead letter.

    A copy of the database, or one that was restored without a new timeline, may stand just where
    the run began: then the message is missing here, or another one has its id. A run without a
    message left the cursor where it stood, and only this database can have written it.
    """
    if not record.messages or exists(connection, record.last_id, record.last_at):
        return True
    values = {"cursor": cursor.id, "id": record.last_id, "written_at": record.last_at}
    row = connection.execute(DEAD_LETTER_EXISTS, values).fetchone()
    return bool(row and row[0])
