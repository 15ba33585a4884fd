"""What outbox.trace tells, and the rows that it tells of, for tests."""

from typing import Any, LiteralString

from psycopg.rows import dict_row

from tests.sql.log import Session

Place = dict[str, Any]


def trace(db: Session, message_id: int) -> dict[str, Place]:
    """What became of a message, by subscription."""
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("select * from outbox.trace(%s)", [message_id]).fetchall()
    return {row["subscription"]: row for row in rows}


def place(db: Session, message_id: int, name: str = "kafka") -> Place:
    return trace(db, message_id)[name]


def state(db: Session, message_id: int, name: str = "kafka") -> str:
    found: str = place(db, message_id, name)["state"]
    return found


ROW: LiteralString = """
    insert into outbox.delivery
        (cursor_id, message_id, group_key, attempts, due_at, token, outcome, reason)
    values (%s, %s, %s, %s, clock_timestamp() + %s::interval, %s, %s, %s)
"""


def row(
    db: Session,
    cursor: int,
    message_id: int,
    *,
    attempts: int = 0,
    due: str | None = None,
    token: int | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    group: str | None = "g",
) -> None:
    """A row of a message that a run has passed; `due` is an interval from now."""
    db.execute(ROW, [cursor, message_id, group, attempts, due, token, outcome, reason])


def attempt(
    db: Session, message_id: int, number: int = 1, *, error: str | None = None, status: int = 204
) -> None:
    db.execute(
        """
        insert into outbox.attempt_log
            (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
             relay)
        select id, %s, 'k', %s, 0.5, %s, %s, 'relay-1' from outbox.subscription
        where name = 'billing'
        """,
        [message_id, number, status, error],
    )


FIND: LiteralString = "select * from outbox.find_messages"


def found(db: Session, query: LiteralString, *parameters: object) -> tuple[list[int], int, bool]:
    ((ids, looked, _, more),) = db.execute(FIND + query, parameters).fetchall()
    return ids, looked, more
