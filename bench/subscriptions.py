"""Subscriptions of the benchmark: how they deliver, and how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.arena import Arena, Connection
from bench.messages import TOPIC

DELIVER = "update outbox.subscription set delivery = %s"
SUBSCRIBE = """
insert into outbox.subscription (name, settings)
values (%(name)s, jsonb_build_object('topic_prefix', %(prefix)s::text))
"""
FORGET = """
select outbox.delete_subscription(name, true) from outbox.subscription where name <> 'kafka'
"""
# They take the disk that a hundred topics of a drain would else fill.
BOUNDS = {"retention.bytes": "134217728", "segment.bytes": "33554432"}


@contextmanager
def exactly_once(connection: Connection) -> Iterator[None]:
    """All of them, inside of the block."""
    connection.execute(DELIVER, ("exactly_once",))
    try:
        yield
    finally:
        connection.execute(DELIVER, ("at_least_once",))


@contextmanager
def many(arena: Arena, connection: Connection, number: int) -> Iterator[None]:
    """So many in all, inside of the block, each with a topic of its own."""
    for n in range(1, number):
        prefix = f"s{n}."
        arena.make_topic(prefix + TOPIC, BOUNDS)
        connection.execute(SUBSCRIBE, {"name": f"s{n}", "prefix": prefix})
    try:
        yield
    finally:
        connection.execute(FORGET)
