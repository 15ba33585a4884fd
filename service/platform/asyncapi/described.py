"""What the document is made of: event types that a caller may see, and the topics they go to."""

import datetime
from collections.abc import Sequence
from typing import LiteralString

import msgspec

from service.database.transaction import Transaction
from service.problems import Problem

# What of the catalogue one document may hold. It stands in memory while it is sent.
MAX_BYTES = 8_000_000


class DescribedType(msgspec.Struct, frozen=True, kw_only=True):
    """An event type with the version in force; `schema` and `example` are JSON."""

    type: str
    channels: list[str]
    description: str
    owner: str
    enforcement: str
    compatibility: str
    deprecated_on: datetime.date | None
    successor: str | None
    version: int
    schema: str
    example: str | None


class Route(msgspec.Struct, frozen=True):
    """A subscription to the relay's own Kafka: what it carries, and how its topics begin.

    `channels` None: every one; `topic_prefix` None: as the relay's setting says.
    """

    channels: list[str] | None
    types: list[str] | None
    topic_prefix: str | None


class Described(msgspec.Struct, frozen=True):
    """All of it; equal values make equal documents."""

    types: Sequence[DescribedType]
    routes: Sequence[Route]


class Size(msgspec.Struct, frozen=True):
    """How large it is. `mark` is another one when any of the types has changed."""

    mark: str
    size: int


SIZE: LiteralString = """
    select coalesce(md5(string_agg(concat_ws(' ', t.id, t.version, t.changed_at), ','
                                   order by t.id)), '') as mark,
           coalesce(sum(octet_length(v.schema) + octet_length(t.description)
                        + coalesce(octet_length(t.example), 0)), 0)::bigint as size
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where (%(channel)s::text is null or %(channel)s = any (t.channels))
      and outbox.channels_allowed(t.channels, %(limited)s)
"""
TYPES: LiteralString = """
    select t.type, t.channels, t.description, t.owner, t.enforcement, t.compatibility,
           t.deprecated_on, t.successor, v.version, v.schema, t.example
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where (%(channel)s::text is null or %(channel)s = any (t.channels))
      and outbox.channels_allowed(t.channels, %(limited)s)
    order by t.type
"""
ROUTES: LiteralString = """
    select channels, types, settings ->> 'topic_prefix' as topic_prefix
    from outbox.subscription
    where kind = 'kafka' and outbox.other_cluster(settings) = ''
    order by id
"""


async def routes(transaction: Transaction) -> list[Route]:
    """The subscriptions to the relay's own Kafka, the oldest first."""
    return await transaction.all(Route, ROUTES, {})


async def mark(transaction: Transaction, limited: list[str] | None, channel: str | None) -> str:
    """What changes with any of the types; Problem 422 where they are more than a document holds."""
    size = await transaction.one(Size, SIZE, {"limited": limited, "channel": channel})
    assert size is not None
    if size.size > MAX_BYTES:
        raise Problem(
            422,
            f"The document would be larger than {MAX_BYTES} bytes: ask for one channel.",
            field="channelId",
        )
    return size.mark


async def types(
    transaction: Transaction, limited: list[str] | None, channel: str | None
) -> list[DescribedType]:
    """Those that the document describes, by name."""
    return await transaction.all(DescribedType, TYPES, {"limited": limited, "channel": channel})


def topic_prefix(
    routes: Sequence[Route], channel: str, types: Sequence[str], default: str
) -> str | None:
    """How the topic of a channel begins, by the oldest subscription that carries one of the types.

    None: nothing of the channel goes to Kafka.
    """
    for route in routes:
        carries = route.types is None or not set(route.types).isdisjoint(types)
        if carries and (route.channels is None or channel in route.channels):
            return default if route.topic_prefix is None else route.topic_prefix
    return None
