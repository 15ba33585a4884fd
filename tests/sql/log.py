"""What the SQL tests do to the log, in a few words."""

from pathlib import Path
from typing import Any, LiteralString

import psycopg

Session = psycopg.Connection[tuple[Any, ...]]

SQL_DIRECTORY = Path(__file__).parents[2] / "sql"

KAFKA_CURSOR = """
    select cursor.id from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where name = %s and priority = %s and shard = %s and channel is null
"""


def one(db: Session, query: LiteralString, *parameters: object) -> Any:
    """The only value of the only row."""
    rows = db.execute(query, parameters).fetchall()
    assert len(rows) == 1, rows
    assert len(rows[0]) == 1, rows
    return rows[0][0]


def only_rows(cursor: psycopg.Cursor[Any]) -> list[Any]:
    """Of the only statement of a script that has any."""
    found = [result.fetchall() for result in cursor.results() if result.description is not None]
    assert len(found) == 1, found
    return found[0]


DROP_CHECKS = """
select format('alter table outbox.message drop constraint %I', conname)
from pg_constraint where conrelid = 'outbox.message'::regclass and contype = 'c'
"""


def drop_checks(db: Session) -> None:
    """From here on the log takes every row, as it takes a superuser's."""
    for (statement,) in db.execute(DROP_CHECKS).fetchall():
        db.execute(statement)


def publish(
    db: Session, group_key: str = "g", *, channel: str = "orders", priority: int = 3
) -> int:
    """Publishes a small message; returns its id."""
    query = "select outbox.publish(%s, 'event', '{}', group_key => %s, priority => %s)"
    message_id: int = one(db, query, channel, group_key, priority)
    return message_id


def publish_own(db: Session, channel: str) -> int:
    """Writes a message to a channel of the platform, as its functions do; returns its id."""
    message_id: int = one(db, "select outbox.publish_own(%s, 'event', '{}')", channel)
    return message_id


def let_days_pass(db: Session, days: int, table: str = "outbox.message") -> None:
    """As far as the partitions of the table know: who wrote when they were made has ended."""
    db.execute(
        """
        update outbox.known_partition
        set from_time = from_time - days, upto_time = upto_time - days, xid = '3',
            made_at = made_at - days
        from make_interval(days => %s) as days
        where parent = %s
        """,
        [days, table],
    )
    db.execute("update outbox.log_mark set at = at - make_interval(days => %s)", [days])


def turn(db: Session) -> None:
    """The log goes on in its next partition; that before it ends now."""
    db.execute("update outbox.known_partition set xid = '3' where parent = 'outbox.message'")
    try_to_turn(db)


def try_to_turn(db: Session) -> None:
    """The same, unless a transaction writes that began before the next partition was made."""
    db.execute(
        """
        update outbox.known_partition
        set made_at = '2020-01-01',
            from_time = case when upto_time is null and from_time is not null then '2020-01-01'
                        else from_time end
        where parent = 'outbox.message'
        """
    )
    db.execute("select outbox.make_partitions()")


def cursor_id(db: Session, priority: int = 3, *, name: str = "kafka", shard: int = 0) -> int:
    """The cursor of one subscription, shard and priority, and of no channel alone."""
    found: int = one(db, KAFKA_CURSOR, name, priority, shard)
    return found


def pass_everything(db: Session, cursor: int | None = None) -> None:
    """Moves one cursor, or every one, past all that is committed, as a relay's checkpoint does."""
    db.execute(
        """
        insert into outbox.checkpoint (cursor_id, n, seen, relay, messages)
        select cursor_id, max(n) + 1, pg_current_snapshot(), 'test', 1 from outbox.checkpoint
        where cursor_id = coalesce(%s, cursor_id) group by cursor_id
        """,
        [cursor],
    )


def begin_delta(db: Session, cursor: int, after_id: int) -> None:
    """Leaves a cursor in the middle of a delta to now: done up to and including `after_id`."""
    db.execute(
        """
        insert into outbox.checkpoint
            (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
        select cursor_id, n + 1, seen, pg_current_snapshot(), %(after_id)s,
               (select min(id) from outbox.message where xid >= pg_snapshot_xmax(seen)),
               (select max(id) from outbox.message), 'test'
        from outbox.checkpoint where cursor_id = %(cursor)s order by n desc limit 1
        """,
        {"cursor": cursor, "after_id": after_id},
    )


def pending(db: Session, cursor: int) -> list[int]:
    """Ids of the messages that a cursor will send, in that order."""
    rows = db.execute("select message_id from outbox.pending(%s, 100000) order by place", [cursor])
    return [message_id for (message_id,) in rows]


def dead_letter(db: Session, message_id: int, *, reason: str = "message_too_large") -> int:
    """Gives up a message for the subscription `kafka`; returns the id of its dead letter."""
    query = """
        insert into outbox.dead_letter
            (subscription_id, cursor_id, message_id, priority, channel, type, group_key,
             idempotency_key, headers, content_type, payload, created_at, reason, detail, attempts)
        select cursor.subscription_id, cursor.id, m.id, m.priority, m.channel, m.type, m.group_key,
               m.idempotency_key, m.headers, m.content_type, m.payload, m.created_at, %s, 'no', 1
        from outbox.message as m
        join outbox.cursor on cursor.id = %s
        where m.id = %s
        returning id
    """
    priority: int = one(db, "select priority from outbox.message where id = %s", message_id)
    letter_id: int = one(db, query, reason, cursor_id(db, priority), message_id)
    return letter_id
