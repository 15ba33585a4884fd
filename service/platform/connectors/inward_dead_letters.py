"""/v1/inward-dead-letters: what came to inward connectors and could not enter.

As the connectors themselves they are there for keys that are not limited to channels.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, LiteralString

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.connectors import inward
from service.platform.fields import Id
from service.platform.pages import Page, PageQuery, number, page
from service.platform.permission import WITHHELD, may_see_payloads
from service.problems import Problem
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class InwardDeadLetterQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """`connectorId`: of this inward connector alone."""

    connector_id: Id | None = None


class InwardDeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A record of a topic, by partition and offset, or a message of a queue, by its id there.

    `due`: it is asked for to be tried again, and a relay will.
    """

    id: Id
    connector_id: Id
    topic: str
    partition: int | None
    offset: str | None
    message_id: str | None
    size: int
    reason: str
    detail: str
    due: bool
    died_at: datetime


class Header(msgspec.Struct, frozen=True):
    """As it came: a name may come again, and a value need not be text."""

    name: str
    value: bytes | None


class WholeInwardDeadLetter(InwardDeadLetter, frozen=True, kw_only=True, rename="camel"):
    """With what it holds, in base64; the value of a tombstone is null.

    To a key without the scope payloads it is shown without that, and `withheld` says so.
    """

    key_base64: bytes | UnsetType | None = msgspec.field(default=UNSET, name="keyBase64")
    value_base64: bytes | UnsetType | None = msgspec.field(default=UNSET, name="valueBase64")
    headers: list[Header] | UnsetType = UNSET
    withheld: str | UnsetType = UNSET


COLUMNS: LiteralString = """
    id::text as id, source_id::text as connector_id, topic, partition,
    record_offset::text as offset, message_id, coalesce(octet_length(value), 0) as size, reason,
    detail, due, died_at
"""
LIST: LiteralString = (
    "select"
    + COLUMNS
    + """from outbox.source_dead_letter
    where id > %(after)s and (%(source_id)s::bigint is null or source_id = %(source_id)s)
    order by id limit %(rows)s
    """
)


async def list_inward_dead_letters(
    call: Call[None, InwardDeadLetterQuery],
) -> Page[InwardDeadLetter]:
    """What could not enter, the oldest first."""
    after, _ = call.query.place() or (0, 0)
    parameters = {
        "after": after,
        "source_id": number(call.query.connector_id),
        "rows": call.query.limit + 1,
    }
    if call.caller.channels is not None:
        return Page([])
    rows = await call.database.walk(
        lambda transaction: transaction.all(InwardDeadLetter, LIST, parameters)
    )
    return page(rows, call.query.limit, lambda item: item.id)


class Row(InwardDeadLetter, frozen=True, kw_only=True):
    """From SQL, with what it holds."""

    key: bytes | None
    value: bytes | None
    header_names: list[str]
    header_values: list[bytes | None]


READ: LiteralString = (
    "select"
    + COLUMNS
    + ", key, value, header_names, header_values from outbox.source_dead_letter where id = %(id)s"
)


async def read_inward_dead_letter(call: Call[None, NoQuery]) -> WholeInwardDeadLetter:
    """One, with what it holds."""
    row = None
    if call.caller.channels is None:
        row = await call.database.run(
            lambda transaction: transaction.one(Row, READ, {"id": call.id})
        )
    if row is None:
        raise Problem(404, "The dead letter does not exist.")
    fields = msgspec.structs.asdict(row)
    names, values = fields.pop("header_names"), fields.pop("header_values")
    key, value = fields.pop("key"), fields.pop("value")
    if not may_see_payloads(call.caller):
        return WholeInwardDeadLetter(withheld=WITHHELD, **fields)
    headers = [Header(name, value) for name, value in zip(names, values, strict=True)]
    return WholeInwardDeadLetter(key_base64=key, value_base64=value, headers=headers, **fields)


class Chosen(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which: `ids`, or all of an inward connector."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["ids"]}, {"required": ["connectorId"]}]
    }

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    connector_id: Id | UnsetType = UNSET


class Redriven(msgspec.Struct, frozen=True):
    """How many are tried again, as soon as a relay gets to it."""

    due: int


class Discarded(msgspec.Struct, frozen=True):
    """How many are gone."""

    discarded: int


REDRIVE: LiteralString = """
    with tried as (
        update outbox.source_dead_letter set due = true
        where not due and case when %(ids)s::bigint[] is null then source_id = %(source_id)s
                               else id = any (%(ids)s) end
        returning 1
    )
    select count(*) as due from tried
"""
DISCARD: LiteralString = """
    select outbox.discard_source_dead_letters(%(source_id)s::bigint, %(ids)s::bigint[]) as discarded
"""
UNKNOWN: LiteralString = """
    select min(wanted)::text from unnest(%(ids)s::bigint[]) as wanted
    where not exists (select from outbox.source_dead_letter where id = wanted)
"""
KNOWN: LiteralString = "select id from outbox.source where id = %(source_id)s"


async def redrive_inward_dead_letters(call: Call[Chosen, NoQuery]) -> Redriven:
    """Tries them again: each enters behind what has entered since, or is a dead letter still."""

    async def work(transaction: Transaction) -> Redriven:
        parameters = await _chosen(transaction, call)
        done = await transaction.one(Redriven, REDRIVE, parameters)
        assert done is not None
        subject, detail = _noted(call.body, f"{done.due} due")
        await note(transaction, call, "inward_dead_letter.redrive", subject, detail)
        return done

    return await call.database.run(work)


async def discard_inward_dead_letters(call: Call[Chosen, NoQuery]) -> Discarded:
    """Forgets them, for ever."""

    async def work(transaction: Transaction) -> Discarded:
        parameters = await _chosen(transaction, call)
        done = await transaction.one(Discarded, DISCARD, parameters)
        assert done is not None
        subject, detail = _noted(call.body, f"{done.discarded} discarded")
        await note(transaction, call, "inward_dead_letter.discard", subject, detail)
        return done

    return await call.database.run(work)


def _noted(form: Chosen, outcome: str) -> tuple[str | int, str]:
    """What the audit says of it: of all of a connector, or of those that were named."""
    if form.connector_id is not UNSET:
        return int(form.connector_id), outcome
    assert form.ids is not UNSET
    return "dead letters of connectors", f"{outcome}: {', '.join(form.ids)}"


async def _chosen(transaction: Transaction, call: Call[Chosen, NoQuery]) -> dict[str, object]:
    """Raises Problem: 403 for who may not, 422 for what is not there."""
    inward.require_any(call.caller)
    form = call.body
    if (form.ids is UNSET) == (form.connector_id is UNSET):
        raise Problem(422, "Give ids or connectorId, one of them.", field="ids")
    parameters: dict[str, object] = {
        "ids": None if form.ids is UNSET else [int(written) for written in form.ids],
        "source_id": None if form.connector_id is UNSET else int(form.connector_id),
    }
    unknown = await transaction.value(str, UNKNOWN, parameters)
    if unknown is not None:
        raise Problem(422, f"There is no dead letter {unknown}; none was touched.", field="ids")
    if form.ids is UNSET and await transaction.value(int, KNOWN, parameters) is None:
        detail = f"There is no inward connector {form.connector_id}."
        raise Problem(422, detail, field="connectorId")
    return parameters
