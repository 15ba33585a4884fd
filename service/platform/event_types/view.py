"""GET /v1/event-types, …/{type}, …/{type}/versions/{version}: the catalogue as the API shows it."""

import datetime as dates
from datetime import datetime
from typing import Any, Literal, LiteralString

import msgspec
from msgspec import Raw

from service.database.transaction import Transaction
from service.platform.fields import EventTypeName
from service.platform.pages import Page, PageQuery, page
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.operations.operation import Call, Reply
from service.web.operations.query import NoQuery

Enforcement = Literal["off", "report", "refuse"]
Compatibility = Literal["full", "backward", "forward", "none"]


class Deprecation(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """From which day on a type is deprecated, and the type to publish and read instead.

    The successor need not be registered yet.
    """

    date: dates.date
    successor: EventTypeName | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What SQL and the API say of a type alike."""

    type: str
    channels: list[str]
    description: str
    owner: str
    enforcement: Enforcement
    compatibility: Compatibility
    version: int
    faults: int
    not_in_sql: str | None
    created_at: datetime
    changed_at: datetime


class EventTypeOutline(Known, frozen=True, kw_only=True, rename="camel"):
    """A type, without what may be large.

    `version` is that in force. `faults`: how many messages were published that do not fit, where
    that is only reported. `checkedInSql` false: SQL can't keep the schema, and `notInSql` says why;
    then what is published over HTTP alone is checked.
    """

    checked_in_sql: bool
    deprecation: Deprecation | None


class VersionOutline(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A version of a type, without its schema."""

    version: int
    compatibility: Compatibility
    made_by: str
    created_at: datetime


class ReportedFault(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message that was published and does not fit: its first fault, and no value of it."""

    message_id: str
    channel_id: str
    version: int
    pointer: str
    keyword: str
    at: datetime


class EventType(EventTypeOutline, frozen=True, kw_only=True, rename="camel"):
    """A type, with the schema in force as it was written, its versions and its latest faults."""

    schema: Raw
    example: Raw | None
    versions: list[VersionOutline]
    latest_faults: list[ReportedFault]


class Row(Known, frozen=True, kw_only=True):
    """As SQL has it, with its place in the list."""

    id: int
    deprecated_on: dates.date | None
    successor: str | None


LIST: LiteralString = """
    select t.id, t.type, t.channels, t.description, t.owner, t.enforcement, t.compatibility,
           t.deprecated_on, t.successor, t.version, t.created_at, t.changed_at, state.faults,
           state.not_in_sql
    from outbox.event_type as t join outbox.event_type_state as state on state.id = t.id
    where t.id > %(after)s
      and (%(type)s::text is null or t.type = %(type)s)
      and outbox.channels_allowed(t.channels, %(limited)s)
    order by t.id limit %(rows)s
"""


async def list_event_types(call: Call[None, PageQuery]) -> Page[EventTypeOutline]:
    """All event types, by the time of their registration."""
    after, _ = call.query.place() or (0, 0)

    async def work(transaction: Transaction) -> list[Row]:
        return await _rows(transaction, call.caller, None, after, call.query.limit + 1)

    rows = await call.database.run(work)
    found = page(rows, call.query.limit, lambda row: str(row.id))
    return Page([EventTypeOutline(**_outline(row)) for row in found.items], found.next_cursor)


async def read_event_type(call: Call[None, NoQuery]) -> EventType:
    """One event type."""
    return await call.database.run(
        lambda transaction: find(transaction, call.caller, call.ids["type"])
    )


class Content(msgspec.Struct, frozen=True):
    """What of a type may be large."""

    schema: str
    example: str | None


CONTENT: LiteralString = """
    select v.schema, t.example
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.id = %(id)s
"""
VERSIONS: LiteralString = """
    select version, compatibility, made_by, created_at
    from outbox.event_type_version where event_type_id = %(id)s order by version
"""
LATEST_FAULTS: LiteralString = """
    select message_id::text as message_id, channel as channel_id, version, pointer, keyword, at
    from outbox.event_type_fault where event_type_id = %(id)s order by id desc limit 100
"""


async def find(transaction: Transaction, caller: Caller, type_: str) -> EventType:
    """A type as it stands; Problem 404 if there is none for this caller."""
    rows = await _rows(transaction, caller, type_, 0, 1)
    if not rows:
        raise no_event_type()
    [row] = rows
    content = await transaction.one(Content, CONTENT, {"id": row.id})
    if content is None:
        raise no_event_type()
    return EventType(
        **_outline(row),
        schema=Raw(content.schema.encode()),
        example=None if content.example is None else Raw(content.example.encode()),
        versions=await transaction.all(VersionOutline, VERSIONS, {"id": row.id}),
        latest_faults=await transaction.all(ReportedFault, LATEST_FAULTS, {"id": row.id}),
    )


async def require(transaction: Transaction, caller: Caller, type_: str) -> int:
    """The id of a type; Problem 404 if there is none for this caller."""
    for row in await _rows(transaction, caller, type_, 0, 1):
        return row.id
    raise no_event_type()


def no_event_type() -> Problem:
    """404, whether there is none or none for this caller."""
    return Problem(404, "The event type does not exist.")


async def _rows(
    transaction: Transaction, caller: Caller, type_: str | None, after: int, rows: int
) -> list[Row]:
    parameters = {"type": type_, "after": after, "limited": caller.channels, "rows": rows}
    return await transaction.all(Row, LIST, parameters)


def _outline(row: Row) -> dict[str, Any]:
    shown = msgspec.structs.asdict(row)
    del shown["id"]
    date, successor = shown.pop("deprecated_on"), shown.pop("successor")
    shown["checked_in_sql"] = row.not_in_sql is None
    shown["deprecation"] = None if date is None else Deprecation(date=date, successor=successor)
    return shown


# The highest that Postgres' integer holds.
MAX_VERSION = 2**31 - 1
SCHEMA: LiteralString = """
    select schema from outbox.event_type_version
    where event_type_id = %(id)s and version = %(version)s
"""


async def read_version(call: Call[None, NoQuery]) -> Reply:
    """The JSON Schema of one version of an event type, as it was written."""
    version = call.number("version")

    async def work(transaction: Transaction) -> str | None:
        event_type_id = await require(transaction, call.caller, call.ids["type"])
        if version > MAX_VERSION:
            return None
        parameters = {"id": event_type_id, "version": version}
        return await transaction.value(str, SCHEMA, parameters)

    schema = await call.database.run(work)
    if schema is None:
        raise Problem(404, "The event type has no such version.")
    return Reply(schema.encode())
