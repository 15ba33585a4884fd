"""Subscriptions to endpoints, and the messages that all of them want: 500 bytes, 1,000 groups."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from bench.arena import Connection
from bench.push.arena import PushArena

CHANNEL = "bench.push"
GROUPS = 1000

SUBSCRIBE = "select subscription_id from outbox.subscribe(%s, %s, %s, %s)"
FORGET = """
    select outbox.delete_subscription(name, true) from outbox.subscription where name like %s
"""


def subscribe(
    connection: Connection, name: str, endpoint: str, channel: str = CHANNEL, **settings: Any
) -> int:
    """Returns the subscription's id. Without settings of its own, only failures are logged."""
    given = Jsonb({"attempts_log": "failures", **settings})
    row = connection.execute(SUBSCRIBE, (name, channel, endpoint, given)).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def subscribed(
    arena: PushArena,
    connection: Connection,
    count: int,
    path: str = "ok",
    *,
    secure: bool = False,
    **settings: Any,
) -> Iterator[None]:
    """So many, each with a path of its own: /ok/0, /ok/1, …; over an empty log."""
    connection.execute("truncate outbox.message")
    # Before the fill: a page that is first touched after a checkpoint is logged whole.
    connection.execute("checkpoint")
    for number in range(count):
        url = arena.endpoints.secure_url if secure else arena.endpoints.url
        endpoint = f"{url}/{path}/{number}"
        subscribe(connection, f"{path}-{number}", endpoint, **settings)
    arena.endpoints.take()
    try:
        yield
    finally:
        connection.execute(FORGET, (f"{path}-%",))


# Its numbers go on from `first`.
FILL: LiteralString = """
insert into outbox.message (channel, type, group_key, payload)
select %(channel)s, 'order.paid', 'group-' || n %% %(groups)s,
       convert_to(rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}', 'UTF8')
from generate_series(%(first)s::bigint, %(first)s::bigint + %(messages)s - 1) as n
"""


def fill(connection: Connection, messages: int, *, first: int = 0, channel: str = CHANNEL) -> None:
    """Puts this many messages on top of what the log holds, in one transaction."""
    values = {"channel": channel, "groups": GROUPS, "first": first, "messages": messages}
    connection.execute(FILL, values)
