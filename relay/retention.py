"""What keeps the log from growing for ever: days made ahead, days taken away, old rows trimmed."""

from typing import Any, LiteralString

import structlog

from relay.database import Connection, transaction
from relay.settings import Settings
from relay.telemetry import Telemetry

logger = structlog.get_logger()

MAINTENANCE_LOCK = 0x72657461696E

# Between two rounds of one relay.
ROUND_SECONDS = 60.0


def maintain(connection: Connection, settings: Settings, telemetry: Telemetry) -> None:
    """One round: makes the coming days' partitions, frees those that nobody needs, trims.

    `connection` is in autocommit: each step is a transaction of its own and holds its locks no
    longer than that. What is locked by others is left for the next round. Raises psycopg.Error.
    """
    made = _alone(connection, MAKE_PARTITIONS)
    if made:
        logger.info("partitions_made", partitions=made)
    _retire_partitions(connection, settings.retention_days, telemetry)
    _alone(connection, TRIM_CHECKPOINTS)
    letters = _alone(connection, TRIM_DEAD_LETTERS, settings.retention_days)
    if letters:
        logger.info("delivered_dead_letters_forgotten", dead_letters=letters)
    _alone(connection, TURN_ATTEMPTS)
    answers = _alone(connection, TRIM_IDEMPOTENCY)
    if answers:
        logger.info("idempotent_requests_forgotten", requests=answers)


TIMEOUT = """
    select set_config('statement_timeout', '60s', true), set_config('lock_timeout', '2s', true)
"""
PARTITION_STATE = """
    select partition, needed_by
    from outbox.partition_state(%s)
    where past_retention
    order by from_time
"""


def _retire_partitions(connection: Connection, retention_days: int, telemetry: Telemetry) -> None:
    with transaction(connection):
        connection.execute(TIMEOUT)
        expired = connection.execute(PARTITION_STATE, (retention_days,)).fetchall()
    overdue = {partition: needed_by for partition, needed_by in expired if needed_by is not None}
    for partition, needed_by in overdue.items():
        logger.warning("partition_past_retention_needed", partition=partition, needed_by=needed_by)
    telemetry.overdue(overdue)
    for partition, needed_by in expired:
        if needed_by is None:
            outcome = _alone(connection, RETIRE_PARTITION, partition, retention_days)
            logger.info("partition_past_retention", partition=partition, outcome=outcome)


# Of many relays one does a step; the others go on at once, instead of queueing for its locks.
ALONE = """
    select set_config('statement_timeout', '60s', true), pg_try_advisory_xact_lock(%s)
"""
MAKE_PARTITIONS = "select outbox.make_partitions()"
RETIRE_PARTITION = "select outbox.retire_partition(%s, %s)"
TRIM_CHECKPOINTS = "select outbox.trim_checkpoints()"
TRIM_DEAD_LETTERS = "select outbox.trim_dead_letters(%s)"
# Kept for 30 days.
TURN_ATTEMPTS = "select outbox.turn_attempts()"
TRIM_IDEMPOTENCY = "select outbox.trim_idempotency(100000)"


def _alone(connection: Connection, step: LiteralString, *parameters: object) -> Any:
    """What the step returns; None when another relay is at it."""
    with transaction(connection):
        lock = connection.execute(ALONE, (MAINTENANCE_LOCK,)).fetchone()
        if not lock or not lock[1]:
            return None
        row = connection.execute(step, parameters).fetchone()
        return row[0] if row else None
