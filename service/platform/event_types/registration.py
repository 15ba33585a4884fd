"""PUT /v1/event-types/{type}: a type as it is to be; a schema that differs is its next version."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, LiteralString

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from psycopg import errors as sqlstates
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from catalogue import registration
from catalogue.compatibility import Check
from catalogue.registration import Expected, Prepared
from service.checking.frames import Question
from service.database.transaction import Transaction
from service.platform.audit import fields_of, note
from service.platform.event_types.refusal import (
    log_is_held,
    refused,
    unfit_example,
    unregistrable,
)
from service.platform.event_types.view import Compatibility, Deprecation, Enforcement, find
from service.platform.fields import PublishedChannelId
from service.platform.permission import require_channel
from service.problems import Problem, unavailable
from service.web.bodies import body
from service.web.bodies.body import WITHOUT_NUL
from service.web.operations.operation import Call, Reply
from service.web.operations.query import NoQuery

# A schema and an example of 64 KB each, and what is around them.
MAX_BODY_BYTES = 262_144


class EventTypeForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A type as it is to be: what is left out is the default again.

    Publishers are held to `schema` as it is with undeclared properties forbidden; `example` is a
    payload that fits it.
    """

    channels: Annotated[
        list[PublishedChannelId],
        Meta(min_length=1, max_length=100, description="Where its messages may be published."),
    ]
    schema: Annotated[
        Raw,
        Meta(
            extra_json_schema={"type": ["object", "boolean"]},
            description="JSON Schema 2020-12, at most 64 KB.",
        ),
    ]
    description: Annotated[
        str, Meta(max_length=4000, pattern=WITHOUT_NUL, description="At most 4000 characters.")
    ] = ""
    owner: Annotated[
        str,
        # Not the pattern of a reason: each pattern has one meaning.
        Meta(
            pattern=r"^[^\x00-\x1f\x7f]{0,200}\Z",
            description="Who answers for it; at most 200 printable characters.",
        ),
    ] = ""
    example: Raw | UnsetType = UNSET
    enforcement: Enforcement = "refuse"
    compatibility: Compatibility = "full"
    deprecation: Deprecation | None = None


CHANNELS: LiteralString = "select channels from outbox.event_type where type = %(type)s"
LINE: LiteralString = """
    select event_type_id, version, is_same
    from outbox.event_type_line(%(type)s, %(schema)s)
"""
SCHEMA: LiteralString = """
    select schema from outbox.event_type_version
    where event_type_id = %(event_type_id)s and version = %(version)s
"""
PUT: LiteralString = """
    select outbox.put_event_type(
        %(type)s, %(channels)s::text[], %(description)s, %(owner)s, %(enforcement)s,
        %(compatibility)s, %(example)s, %(expected)s, %(expected_id)s, %(schema)s, %(closed)s,
        %(decides)s::jsonpath, %(checks)s::jsonb, %(singles)s::jsonb, %(not_in_sql)s, %(made_by)s,
        %(of_key)s, %(deprecated_on)s::date, %(successor)s)
"""


class Former(msgspec.Struct, frozen=True):
    """A version that the next has to be compatible with, as catalogue.registration.Version.

    All schemas of a type come to 64 MB at most, so each is read when it is compared.
    """

    event_type_id: int
    version: int
    is_same: bool


class RacedError(Exception):
    """Another version was made meanwhile."""


_decode = partial(body.decode, msgspec.json.Decoder(EventTypeForm))


async def put_event_type(call: Call[EventTypeForm, NoQuery]) -> Reply:
    """Registers an event type or changes it; a schema that differs is its next version."""
    async with call.decoding.begin(call.raw_body, _decode) as form:
        # What follows takes long, and needs no turn at the database for most of it.
        call = replace(call, body=form)
    for index, channel in enumerate(call.body.channels):
        require_channel(call.caller, channel, f"channels[{index}]")
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(RacedError),
        stop=stop_after_attempt(10),
        wait=wait_random_exponential(multiplier=0.01, max=0.2),
        reraise=True,
    )
    try:
        # A large schema takes a while, and other requests don't wait for it.
        async with call.computing.task():
            prepared = await call.computing.run(
                registration.prepare, bytes(call.body.schema), call.body.enforcement
            )
            await _require_example(call, prepared)
            return await retrying(_registered, call, prepared)
    except RacedError:
        raise unavailable("Other versions are being registered; send the request again.") from None
    except registration.REFUSALS as refusal:
        raise unregistrable(call.ids["type"], refusal) from None
    except sqlstates.CheckViolation as error:
        raise refused(error) from None


async def _require_example(call: Call[EventTypeForm, NoQuery], prepared: Prepared) -> None:
    """Raises Problem 422 where SQL can't keep the schema, and the example does not fit it."""
    example = call.body.example
    if prepared.not_in_sql is None or example is UNSET:
        return
    [found] = await call.checker.faults([Question(prepared.written, bytes(example), 1)])
    for fault in found:
        raise unfit_example(fault)


async def _registered(call: Call[EventTypeForm, NoQuery], prepared: Prepared) -> Reply:
    """Compares the versions, which may take long, in no transaction. Raises RacedError."""
    line = await call.database.run(partial(_line, call, prepared))
    expected = await _expected(call, prepared, line)
    return await call.database.run(partial(_put, call, prepared, expected))


async def _expected(
    call: Call[EventTypeForm, NoQuery], prepared: Prepared, line: Sequence[Former]
) -> Expected:
    """As catalogue.registration.expected, each version of the line in a piece of its own."""
    if not line:
        return Expected(None, 0)
    if not line[-1].is_same:
        check = Check(prepared.parsed, call.body.compatibility)
        for one in reversed(line):
            if check.is_decided:
                break
            written = await call.database.run(partial(_schema, one))
            await call.computing.run(registration.compare, check, one.version, written)
        registration.require_compatible(check)
    return Expected(line[-1].event_type_id, line[-1].version)


async def _schema(one: Former, transaction: Transaction) -> str:
    """Raises RacedError where the type was deleted meanwhile."""
    parameters = {"event_type_id": one.event_type_id, "version": one.version}
    written = await transaction.value(str, SCHEMA, parameters)
    if written is None:
        raise RacedError
    return written


async def _line(
    call: Call[EventTypeForm, NoQuery], prepared: Prepared, transaction: Transaction
) -> list[Former]:
    of_schema = {"type": call.ids["type"], "schema": prepared.written}
    line = await transaction.all(Former, LINE, of_schema)
    # In this order: where a type is made in between, the race is lost and all is tried again.
    await _require_own(call, transaction)
    return line


async def _require_own(call: Call[EventTypeForm, NoQuery], transaction: Transaction) -> None:
    """Raises Problem 409 where the type is not this caller's to change."""
    known = await transaction.value(list, CHANNELS, {"type": call.ids["type"]})
    if known is not None and not call.caller.may_see(known):
        raise Problem(409, "The type is registered for channels that are beyond this key.")


async def _put(
    call: Call[EventTypeForm, NoQuery],
    prepared: Prepared,
    expected: Expected,
    transaction: Transaction,
) -> Reply:
    await _require_own(call, transaction)
    type_, form, caller = call.ids["type"], call.body, call.caller
    parameters = {
        "type": type_,
        "schema": prepared.written,
        "closed": prepared.closed,
        "decides": prepared.decides,
        "checks": prepared.checks,
        "singles": prepared.singles,
        "not_in_sql": prepared.not_in_sql,
        "expected": expected.version,
        "expected_id": expected.event_type_id,
        "channels": form.channels,
        "description": form.description,
        "owner": form.owner,
        "enforcement": form.enforcement,
        "compatibility": form.compatibility,
        "example": None if form.example is UNSET else bytes(form.example).decode(),
        "made_by": caller.name,
        "deprecated_on": None if form.deprecation is None else form.deprecation.date,
        "successor": None if form.deprecation is None else form.deprecation.successor,
        "of_key": None if caller.channels is None else caller.name,
    }
    try:
        await transaction.value(int, PUT, parameters)
    except sqlstates.SerializationFailure as lost:
        raise RacedError from lost
    except sqlstates.LockNotAvailable as error:
        if error.diag.table_name != "message":
            raise
        raise log_is_held(error) from None
    await note(transaction, call, "event_type.register", type_, fields_of(form))
    shown = await find(transaction, caller, type_)
    return Reply(shown, status=201 if expected.version == 0 else None)
