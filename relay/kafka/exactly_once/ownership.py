"""Exactly once: a run's cursor is committed with its messages, in one transaction of the sink.

A crash between that commit and Postgres's leaves one run in doubt, and never two: the next owner
fences the former one, reads what its last transaction noted, and writes the checkpoint after it.
"""

import time
from collections.abc import Iterable
from typing import Any

import structlog

from relay.database import Connection
from relay.kafka.exactly_once import adoption, names
from relay.kafka.exactly_once.disk import Disk
from relay.kafka.exactly_once.record import (
    Record,
    Unreadable,
    decode,
    encode,
    fits,
    noted,
)
from relay.kafka.exactly_once.take_over import TakeOver
from relay.log.checkpoint import Next, new_token, position_at
from relay.log.claim import Claimed
from relay.log.sink import Outcome, Transactions
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

logger = structlog.get_logger()

TELL_SECONDS = 60.0


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
        self.take_over = TakeOver(settings.name)
        self._told_at: dict[int, float] = {}
        # Of these Kafka held no note when they were fenced, and none was committed since.
        self._unnoted: set[int] = set()
        # Of these no checkpoint has been written since they were fenced.
        self._just_fenced: set[int] = set()

    def adopt(self, claimed: Claimed) -> bool:
        """Makes this relay the claimed cursor's owner.

        True where the claim is over: the run in doubt had happened, and its checkpoint is written
        and committed; or it is the first time, which has to be known before anything is in doubt.
        """
        cursor = claimed.cursor
        name = names.transactions_name(claimed)
        if self._transactions.take(name, claimed.token):
            return False
        note = self._transactions.fence(name)
        self._just_fenced.add(cursor.id)
        is_elsewhere = names.noted_in(claimed) != cursor.sink_settings.cluster
        if is_elsewhere:
            names.note(self._connection, cursor)
        if not note:
            return self._go_on_without_note(claimed, is_elsewhere=is_elsewhere)
        self._unnoted.discard(cursor.id)
        record = self._read(note, claimed)
        if record is not None and adoption.follows(record, claimed):
            if adoption.remembers(self._connection, cursor, record):
                self._write_run(claimed, record)
                return True
            self._tell_refused(claimed, record)
        elif record is not None and adoption.contradicts(record, claimed):
            self._tell_refused(claimed, record)
        self._transactions.own(claimed.token)
        return False

    def check_snapshots_fit(self, claimed: Claimed) -> bool:
        """Whether both snapshots fit into what a transaction can note; tells where they don't."""
        cursor, delta = claimed.cursor, claimed.position.delta
        if delta is None or fits(claimed.position):
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
            **_following(claimed, checkpoint),
            position=None if redriven_ids else checkpoint.position,
            redriven=redriven_ids,
            dead=() if redriven_ids else noted(outcome.dead),
            last_id=outcome.last_id,
            last_at=outcome.created_at[-1],
        )
        self._commit(claimed, record)

    def commit_nothing(self, claimed: Claimed, checkpoint: Next) -> None:
        """Commits a checkpoint that stands where the claimed one does, without a message.

        It shows that no other owner has committed a run since. Raises as `commit`.
        """
        self._transactions.begin()
        self._commit(claimed, Record(**_following(claimed, checkpoint), position=None))

    def forget(self, claimed: Claimed, cursor_ids: Iterable[int]) -> None:
        """These cursors are gone."""
        for cursor_id in cursor_ids:
            self._transactions.forget(names.group_name(claimed, cursor_id))

    def rename(self, claimed: Claimed) -> None:
        """The cursor's transactions have another name from the commit of this run on.

        For as long as a topic takes nothing, brokers can't end an aborted transaction that wrote to
        it, and let its owner begin no other. That owner ends here, before another relay can
        read the new name: it has fenced every relay that could still commit under the old one.
        """
        cursor = claimed.cursor
        self._transactions.forget(names.transactions_name(claimed))
        noted = cursor.id not in self._unnoted
        names.begin_generation(self._connection, cursor, noted=noted)

    def own(self, claimed: Claimed, checkpoint: Next) -> None:
        """For a checkpoint without messages, which Kafka never hears of."""
        self._just_fenced.discard(claimed.cursor.id)
        self._transactions.own(checkpoint.token)

    def stand(self, claimed: Claimed) -> Next | None:
        """The checkpoint of a run that has only looked topics up; None where none is needed.

        It stands where the claimed one does, and says whose the cursor is now. The former owner
        would else find its own checkpoint to be the latest, go on from it as soon as this run lets
        the lock go, and fence the new owner before that one has sent anything; and so in turn.
        Kafka notes it first: a third relay may have fenced this one since, and have a run in doubt.
        Raises as `commit`.
        """
        if claimed.cursor.id not in self._just_fenced or not self._transactions.held:
            return None
        here = position_at(self._connection, claimed.cursor, claimed.n)
        checkpoint = Next(claimed.n + 1, new_token(), here)
        self.commit_nothing(claimed, checkpoint)
        return checkpoint

    def close(self) -> None:
        self._disk.close()

    def abort(self) -> bool:
        """The run is given up. Whether this relay is still the cursor's owner."""
        self._transactions.abort()
        return self._transactions.held

    def _commit(self, claimed: Claimed, record: Record) -> None:
        assert claimed.origin is not None
        # What a crash of Postgres can take back must not lie behind a committed cursor: its
        # transaction ids will be used again.
        self._disk.reach(self._connection, claimed.origin.insert_lsn)
        self._unnoted.discard(claimed.cursor.id)
        self._just_fenced.discard(claimed.cursor.id)
        self._transactions.commit(encode(record, _note_key(claimed)))
        self._transactions.own(record.token)

    def _go_on_without_note(self, claimed: Claimed, *, is_elsewhere: bool) -> bool:
        """Goes on from Postgres's checkpoint. Whether the claim is over.

        `is_elsewhere`: none of its transactions was committed in this cluster.
        """
        cursor = claimed.cursor
        self._transactions.own(claimed.token)
        if is_elsewhere:
            self._unnoted.add(cursor.id)
            self._connection.execute("commit")
            self._tell_moved(claimed)
            return True
        if cursor.id in self._unnoted:
            return False
        self._unnoted.add(cursor.id)
        self._telemetry.cursor_lost(cursor.subscription)
        logger.warning(
            "kafka_cursor_lost",
            subscription=cursor.subscription,
            cursor=cursor.id,
            ours=claimed.n,
            effect="if the last run was in doubt, it comes again, with the same keys",
            hint="none is needed; Kafka forgets a group's offsets after offsets.retention.minutes, "
            "or where the group or the topic is deleted",
        )
        return False

    def _tell_moved(self, claimed: Claimed) -> None:
        if names.noted_in(claimed) is None:
            return
        logger.info(
            "kafka_cursor_moved",
            subscription=claimed.cursor.subscription,
            cursor=claimed.cursor.id,
            effect="it goes on in another cluster from where it stood; if its last run in the "
            "former one was in doubt, that run may be in both",
        )

    def _read(self, note: str, claimed: Claimed) -> Record | None:
        cursor = claimed.cursor
        try:
            return decode(note, _note_key(claimed))
        except Unreadable as wrong:
            self._telemetry.cursor_refused(cursor.subscription)
            logger.warning("kafka_cursor_unreadable", cursor=cursor.id, fault=str(wrong))
            return None

    def _tell_refused(self, claimed: Claimed, record: Record) -> None:
        """Another history of this database wrote it: after a restore, in a copy, or on a primary
        that is gone. Its snapshots say nothing about the transactions of this one.
        """
        cursor = claimed.cursor
        self._telemetry.cursor_refused(cursor.subscription)
        logger.warning(
            "kafka_cursor_refused",
            subscription=cursor.subscription,
            cursor=cursor.id,
            ours=claimed.n,
            kafka=record.n,
            effect="what Kafka holds beyond our checkpoint comes again, with the same keys",
        )

    def _write_run(self, claimed: Claimed, record: Record) -> None:
        cursor = claimed.cursor
        adoption.write_run(self._connection, claimed, self._relay, record)
        self._just_fenced.discard(cursor.id)
        self._transactions.own(record.token)
        self._telemetry.cursor_adopted(cursor.subscription)
        logger.info(
            "kafka_cursor_adopted",
            subscription=cursor.subscription,
            cursor=cursor.id,
            messages=record.messages,
        )


def _note_key(claimed: Claimed) -> bytes:
    assert claimed.origin is not None
    return bytes.fromhex(claimed.origin.note_key)


def _following(claimed: Claimed, checkpoint: Next) -> dict[str, Any]:
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
