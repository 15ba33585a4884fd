"""What the pages show, as SQL has it."""

import datetime as dates
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import msgspec

from service.database.transaction import Transaction
from service.platform.permission import visible
from service.web.access.authorization import Caller

MAX_CHANNELS = 100
MAX_SUBSCRIBERS = 100
MAX_FAULTS = 10


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """A type as lists show it; `matching` is how many there are of what was asked for."""

    id: int
    type: str
    channels: list[str]
    description: str
    owner: str
    enforcement: str
    compatibility: str
    deprecated_on: dates.date | None
    is_deprecated: bool
    successor: str | None
    version: int
    changed_at: datetime
    faults: int
    last_fault_at: datetime | None
    not_in_sql: str | None
    matching: int


TYPES: LiteralString = """
    select t.id, t.type, t.channels, t.description, t.owner, t.enforcement, t.compatibility,
           t.deprecated_on, t.successor, t.version, t.changed_at,
           coalesce(t.deprecated_on <= current_date, false) as is_deprecated,
           state.faults, state.last_fault_at, state.not_in_sql, t.matching
    from (
        select t.*, count(*) over () as matching
        from outbox.event_type as t
        where (%(type)s::text is null or t.type = %(type)s)
          and (%(channel)s::text is null or %(channel)s = any (t.channels))
          and (%(text)s::text is null
               or t.type ilike %(text)s or t.description ilike %(text)s or t.owner ilike %(text)s
               or exists (select from unnest(t.channels) as channel where channel ilike %(text)s))
          and outbox.channels_allowed(t.channels, %(limited)s)
        order by t.type collate "C"
        limit %(rows)s offset %(skipped)s
    ) as t
    join outbox.event_type_state as state on state.id = t.id
    order by t.type collate "C"
"""


async def types(
    transaction: Transaction,
    caller: Caller,
    *,
    type_: str | None = None,
    channel: str | None = None,
    text: str | None = None,
    rows: int = 1,
    skipped: int = 0,
) -> list[Outline]:
    """Types by name: one, those of a channel, those in which a text stands."""
    parameters = {
        "type": type_,
        "channel": channel,
        "text": None if text is None else f"%{_literal(text)}%",
        "limited": caller.channels,
        "rows": rows,
        "skipped": skipped,
    }
    return await transaction.all(Outline, TYPES, parameters)


def _literal(text: str) -> str:
    r"""As a part of a pattern of LIKE, in which \, % and _ mean something."""
    for sign in "\\%_":
        text = text.replace(sign, f"\\{sign}")
    return text


class Channel(msgspec.Struct, frozen=True):
    """A channel and how many types may be published there."""

    name: str
    types: int


CHANNELS: LiteralString = """
    select channel as name, count(*) as types
    from outbox.event_type as t cross join unnest(t.channels) as channel
    where outbox.channels_allowed(t.channels, %(limited)s)
    group by channel order by channel collate "C" limit %(rows)s
"""


async def channels(transaction: Transaction, caller: Caller) -> list[Channel]:
    """By name; one more than MAX_CHANNELS where there are more."""
    parameters = {"limited": caller.channels, "rows": MAX_CHANNELS + 1}
    return await transaction.all(Channel, CHANNELS, parameters)


class Version(msgspec.Struct, frozen=True):
    """A version as it was written."""

    version: int
    compatibility: str
    schema: str
    made_by: str
    created_at: datetime


VERSIONS: LiteralString = """
    select version, compatibility, schema, made_by, created_at
    from outbox.event_type_version
    where event_type_id = %(id)s and version <= %(upto)s
    order by version desc limit %(rows)s
"""


async def versions(
    transaction: Transaction, event_type_id: int, upto: int, rows: int
) -> list[Version]:
    """The newest first."""
    parameters = {"id": event_type_id, "upto": upto, "rows": rows}
    return await transaction.all(Version, VERSIONS, parameters)


EXAMPLE: LiteralString = "select example from outbox.event_type where id = %(id)s"


async def example(transaction: Transaction, event_type_id: int) -> str | None:
    """A payload that fits the version in force, if one was given."""
    return await transaction.value(str, EXAMPLE, {"id": event_type_id})


class Fault(msgspec.Struct, frozen=True):
    """A message that was published and does not fit, by its first fault."""

    message_id: int
    channel: str
    version: int
    pointer: str
    keyword: str
    at: datetime


FAULTS: LiteralString = """
    select message_id, channel, version, pointer, keyword, at
    from outbox.event_type_fault where event_type_id = %(id)s order by id desc limit %(rows)s
"""


async def faults(transaction: Transaction, event_type_id: int) -> list[Fault]:
    """The latest first."""
    return await transaction.all(Fault, FAULTS, {"id": event_type_id, "rows": MAX_FAULTS})


class Subscriber(msgspec.Struct, frozen=True):
    """A subscription that reads what is asked for. Where it leads is not told: it may be secret."""

    name: str
    kind: str
    paused: bool
    is_connector: bool
    reads_all: bool


SUBSCRIBERS: LiteralString = """
    select name, kind, paused, outbox.other_cluster(settings) <> '' as is_connector,
           channels is null as reads_all
    from outbox.subscription
    where (channels is null or channels && %(channels)s::text[])
      and (types is null or %(type)s::text is null or %(type)s = any (types))
      and (%(visible)s::bigint[] is null or id = any (%(visible)s))
    order by name collate "C" limit %(rows)s
"""


async def subscribers(
    transaction: Transaction, caller: Caller, channels: Sequence[str], type_: str | None
) -> list[Subscriber]:
    """By name; one more than MAX_SUBSCRIBERS where there are more. `type_` None: of any type."""
    parameters = {
        "channels": list(channels),
        "type": type_,
        "visible": await visible(transaction, caller),
        "rows": MAX_SUBSCRIBERS + 1,
    }
    return await transaction.all(Subscriber, SUBSCRIBERS, parameters)
