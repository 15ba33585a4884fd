"""What keeps the log from growing for ever: partitions made and taken away, old rows trimmed."""

import re
from contextlib import suppress
from typing import Any, LiteralString

import psycopg
import structlog
from psycopg import errors

from relay.database import Connection, ReadOnlyError, transaction
from relay.keyring import Keyring
from relay.monitoring.status import maintenance, pinned_partitions
from relay.monitoring.table_locks import TableLock, maintenance_locks
from relay.monitoring.telemetry import Telemetry
from relay.secrets import at_rest
from relay.settings import Settings

logger = structlog.get_logger()

# How a note begins of what could not be made or freed.
HELD = "other sessions hold "
# Between two rounds of one relay.
ROUND_SECONDS = 60.0


def maintain(connection: Connection, settings: Settings, telemetry: Telemetry) -> None:
    """One round: makes the coming partitions, frees those that are not needed, trims, seals.

    `connection` is in autocommit: each step is a transaction of its own and holds its locks no
    longer than that. What is locked by others is left for the next round, and a step that fails
    stops no other. How the round went is noted in outbox.maintenance: one that left something out
    is not done. Raises psycopg.Error where the session is lost, ReadOnlyError on a server that
    takes no writes.
    """
    steps = Steps(connection, telemetry)
    left_out: list[str] = []
    try:
        for step in STEPS:
            try:
                left_out += step(steps, settings, telemetry)
            except psycopg.Error as fault:
                steps.note(fault)
        if left_out:
            logger.warning("maintenance_left_out", partitions=left_out, hint="outbox-relay doctor")
            steps.faults.append(HELD + ", ".join(left_out))
        steps.alone(NOTE, settings.name, "; ".join(steps.faults) or None)
    except TakenError:
        _tell_taken(steps)


def _tell_taken(steps: "Steps") -> None:
    """That another relay is at it is as it should be; what nobody has done for long is not."""
    locks: list[TableLock] = []
    late = True
    with transaction(steps.connection):
        steps.connection.execute(TIMEOUT)
        with suppress(errors.LockNotAvailable):
            locks = maintenance_locks(steps.connection)
            late = maintenance(steps.connection).late
    if not late:
        logger.debug("maintenance_is_anothers", at=steps.function)
        return
    logger.warning(
        "maintenance_is_kept_out",
        at=steps.function,
        locks=[str(lock) for lock in locks],
        hint="unless it is a relay that works: select pg_terminate_backend(PID)",
    )


TIMEOUT = """
    select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '2s', true)
"""
PARTITION_STATE = """
    select partition, needed_by
    from outbox.partition_state(%s)
    where past_retention
    order by from_time
"""


def _make_partitions(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    made = steps.alone(MAKE_PARTITIONS, settings.retention_days)
    if made:
        logger.info("partitions_made", partitions=made)
    return []


def _retire_partitions(steps: "Steps", settings: Settings, telemetry: Telemetry) -> list[str]:
    """Those that others held."""
    retention_days = settings.retention_days
    steps.function = "outbox.partition_state"
    with transaction(steps.connection):
        steps.connection.execute(TIMEOUT)
        expired = steps.connection.execute(PARTITION_STATE, (retention_days,)).fetchall()
    blocked = {partition: needed_by for partition, needed_by in expired if needed_by is not None}
    for partition, needed_by in blocked.items():
        logger.warning("partition_past_retention_needed", partition=partition, needed_by=needed_by)
    telemetry.retention_blocked(blocked)
    free = [partition for partition, needed_by in expired if needed_by is None]
    return [partition for partition in free if _retire(steps, partition, retention_days)]


def _retire(steps: "Steps", partition: str, retention_days: int) -> bool:
    """Whether others held it. What else goes wrong with it keeps no other partition."""
    try:
        outcome = steps.alone(RETIRE_PARTITION, partition, retention_days)
    except psycopg.Error as fault:
        steps.note(fault)
        return False
    logger.info("partition_past_retention", partition=partition, outcome=outcome)
    return bool(outcome == "locked")


def _tell_pinned(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    """An object that depends on a partition keeps it: whose that is has to drop it."""
    steps.function = "outbox.pinned_partitions"
    with transaction(steps.connection):
        steps.connection.execute(TIMEOUT)
        pinned = pinned_partitions(steps.connection)
    for one in pinned:
        logger.warning("partition_pinned", partition=one.partition, pinned_by=one.pinned_by)
        steps.faults.append(f"{one.partition} can't be dropped: {one.pinned_by}")
    return []


def _trim_checkpoints(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    steps.alone(TRIM_CHECKPOINTS)
    return []


def _trim_replays(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    steps.alone(TRIM_REPLAYS)
    return []


def _trim_dead_letters(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    dead_letters = steps.alone(TRIM_DEAD_LETTERS, settings.retention_days)
    if dead_letters:
        logger.info("delivered_dead_letters_forgotten", dead_letters=dead_letters)
    return []


def _turn_attempts(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    steps.alone(TURN_ATTEMPTS)
    return []


def _trim_idempotency(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    answers = steps.alone(TRIM_IDEMPOTENCY)
    if answers:
        logger.info("idempotent_requests_forgotten", requests=answers)
    return []


def _trim_receipts(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    steps.alone(TRIM_RECEIPTS)
    return []


def _trim_event_faults(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    steps.alone(TRIM_EVENT_FAULTS, settings.retention_days)
    return []


def _trim_audit(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    entries = steps.alone(TRIM_AUDIT, settings.audit_days)
    if entries:
        logger.info("audit_entries_forgotten", entries=entries)
    return []


def _drop_event_check(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    if steps.alone(DROP_EVENT_CHECK):
        logger.info("event_check_dropped", reason="no event type is enforced")
    return []


def _tell_left_out(steps: "Steps", _: Settings, __: Telemetry) -> list[str]:
    events = steps.alone(TELL_LEFT_OUT)
    if events:
        logger.warning("events_left_out", events=events)
    return []


def _seal(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    steps.function = "outbox.seal_secret"
    at_rest.seal(steps.connection, Keyring(settings.secret_keys))
    return []


def _left_out(steps: "Steps", settings: Settings, _: Telemetry) -> list[str]:
    """What the steps before could neither make, nor turn to, nor drop."""
    partitions: list[str] = steps.alone(LEFT_OUT, settings.retention_days)
    return partitions


# In this order; each says which partitions others kept it from.
STEPS = (
    _make_partitions,
    _retire_partitions,
    _trim_checkpoints,
    _trim_replays,
    _trim_dead_letters,
    _turn_attempts,
    _trim_idempotency,
    _trim_receipts,
    _trim_event_faults,
    _trim_audit,
    _drop_event_check,
    _tell_left_out,
    _seal,
    _tell_pinned,
    _left_out,
)


# A relay that freezes in the middle of a step gives it back.
ALONE = """
    select set_config('statement_timeout', '60s', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           outbox.hold_maintenance()
"""
MAKE_PARTITIONS = "select outbox.make_partitions(%s)"
RETIRE_PARTITION = "select outbox.retire_partition(%s, %s)"
TRIM_CHECKPOINTS = "select outbox.trim_checkpoints()"
TRIM_REPLAYS = "select outbox.trim_replays()"
TRIM_DEAD_LETTERS = "select outbox.trim_dead_letters(%s)"
# Kept for 30 days.
TURN_ATTEMPTS = "select outbox.turn_attempts()"
LEFT_OUT = "select outbox.partitions_left_out(%s)"
TRIM_IDEMPOTENCY = "select outbox.trim_idempotency(100000)"
TRIM_RECEIPTS = "select outbox.trim_receipts()"
TRIM_EVENT_FAULTS = "select outbox.trim_event_faults(%s, 100000)"
TRIM_AUDIT = "select outbox.trim_audit(%s)"
DROP_EVENT_CHECK = "select outbox.drop_event_check()"
TELL_LEFT_OUT = "select outbox.tell_left_out()"
NOTE = "select outbox.note_maintenance(%s, %s)"


class TakenError(Exception):
    """Another session looks after the log at this moment."""


class Steps:
    """The steps of one round; `function` is the one in the database that was called last.

    `faults` says what went wrong in it so far.
    """

    def __init__(self, connection: Connection, telemetry: Telemetry) -> None:
        self.connection = connection
        self.function = ""
        self.faults: list[str] = []
        self._telemetry = telemetry

    def note(self, fault: psycopg.Error) -> None:
        """What went wrong, if the round goes on; else raises it."""
        if isinstance(fault, ReadOnlyError):
            # It is another server's to look after by now.
            raise fault
        self._telemetry.fault("", "maintenance")
        if self.connection.closed:
            raise fault
        first = (str(fault).splitlines() or [type(fault).__name__])[0]
        self.faults.append(f"{self.function}: {first}")
        logger.warning("maintenance_failed", at=self.function, fault=str(fault))

    def alone(self, step: LiteralString, *parameters: object) -> Any:
        """What the step returns.

        Raises TakenError where another relay is at one: the round is then left to it, instead of
        queueing for its locks. Of those that meet, the last to begin a step goes on.
        """
        self.function = "".join(re.findall(r"outbox\.\w+", step))
        with transaction(self.connection):
            lock = self.connection.execute(ALONE).fetchone()
            if not lock or not lock[-1]:
                raise TakenError
            row = self.connection.execute(step, parameters).fetchone()
            return row[0] if row else None
