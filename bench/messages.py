"""The messages of a drain: 500-byte payloads in 1,000 groups, filled into either relay's table."""

from typing import LiteralString

from bench.arena import Connection

TOPIC = "bench.drain"

FILL_LOG: LiteralString = """
insert into outbox.message (channel, type, group_key, payload)
select %(topic)s, 'order.paid', 'group-' || n %% 1000,
       convert_to(rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}', 'UTF8')
from generate_series(1, %(messages)s) as n
"""


def fill_log(connection: Connection, messages: int) -> None:
    """Puts this many messages, and nothing else, into the log of this relay."""
    connection.execute("truncate outbox.message")
    # Before the fill: a page that is first touched after a checkpoint is logged whole.
    connection.execute("checkpoint")
    connection.execute(FILL_LOG, {"topic": TOPIC, "messages": messages})


CLASSIC_TABLE: LiteralString = """
create table public.outbox (
    id              bigint generated always as identity primary key,
    channel         text        not null,
    type            text        not null,
    group_key       text,
    idempotency_key text        not null default outbox.uuid7(),
    content_type    text        not null default 'application/json',
    payload         bytea       not null,
    created_at      timestamptz not null default clock_timestamp()
)
"""


def make_classic_table(connection: Connection) -> None:
    """The table of the classic relay: the same columns, no index but its key."""
    connection.execute(CLASSIC_TABLE)


FILL_CLASSIC: LiteralString = """
insert into public.outbox (channel, type, group_key, payload)
select %(topic)s, 'order.paid', 'group-' || n %% 1000,
       convert_to(rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}', 'UTF8')
from generate_series(1, %(messages)s) as n
"""


def fill_classic(connection: Connection, messages: int) -> None:
    """Puts the same messages, and nothing else, into the table of the classic relay."""
    connection.execute("truncate public.outbox")
    connection.execute("checkpoint")
    connection.execute(FILL_CLASSIC, {"topic": TOPIC, "messages": messages})
    connection.execute("analyze public.outbox")
