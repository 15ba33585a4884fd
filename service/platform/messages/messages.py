"""POST /v1/messages, POST /v1/messages/transactional: publishing over HTTP."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, LiteralString

import msgspec
from msgspec import Meta, Raw
from psycopg import DatabaseError

from service.database.pool import UNFIT
from service.database.transaction import Transaction
from service.platform.fields import (
    MAX_MESSAGE_BODY_BYTES,
    EventType,
    GroupKey,
    HeaderName,
    HeaderValue,
    IdempotencyKey,
    Priority,
    PublishedChannelId,
)
from service.platform.messages import checked, idempotency, unfit
from service.platform.messages.checked import UNCHECKED
from service.platform.messages.unfit import Place
from service.platform.permission import require_channel
from service.problems import Problem, unavailable
from service.web.access.authorization import Caller
from service.web.bodies import body
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

MAX_GROUP_KEY_BYTES = 1024
MAX_MESSAGE_BYTES = 983_040
MAX_TRANSACTIONAL_BODY_BYTES = 4 * MAX_MESSAGE_BODY_BYTES
MAX_HEADERS = 100
# Of an event type, while a message of it is checked.
MOST_CHANGES = 5


Headers = Annotated[dict[HeaderName, HeaderValue], Meta(max_length=MAX_HEADERS)]


class MessageForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A message to publish; `payload` is any JSON, and is carried byte for byte as written."""

    channel_id: PublishedChannelId
    type: EventType
    payload: Raw
    group_key: GroupKey | None = None
    priority: Priority = 3
    idempotency_key: IdempotencyKey | None = None
    headers: Headers | None = None


Batch = Annotated[list[MessageForm], Meta(min_length=1, max_length=100)]


class Outline(msgspec.Struct, frozen=True, rename="camel"):
    """What of a message is looked at first: its pieces are unpacked only if there are few."""

    channel_id: PublishedChannelId
    headers: Raw = Raw()


OUTLINE = msgspec.json.Decoder(Outline)
OUTLINES = msgspec.json.Decoder(list[Outline])
UNCOUNTED = msgspec.json.Decoder(Annotated[list[Raw], Meta(min_length=1, max_length=100)])


def look_at_message(caller: Caller, raw: bytes) -> None:
    """Raises Problem: 422 for too many headers, 403 for a channel that is not the caller's."""
    _look(caller, body.decode(OUTLINE, raw), "")


def look_at_messages(caller: Caller, raw: bytes) -> None:
    """Raises Problem: 422 for too many messages or headers, 403 for another's channel."""
    body.decode(UNCOUNTED, raw)
    outlines = body.decode(OUTLINES, raw)
    for index, outline in enumerate(outlines):
        _look(caller, outline, f"[{index}].")


# In minified JSON, where a name ends. One that ends in a backslash is refused as a name.
_NAME_END = re.compile(rb'(?<!\\)":')


def _look(caller: Caller, outline: Outline, place: str) -> None:
    require_channel(caller, outline.channel_id, f"{place}channelId")
    headers = bytes(outline.headers)
    # Each takes five bytes at least.
    if len(headers) > 5 * MAX_HEADERS:
        names = len(_NAME_END.findall(msgspec.json.format(headers, indent=-1)))
        if names > MAX_HEADERS:
            detail = f"{place}headers does not fit: Expected `object` of length <= {MAX_HEADERS}."
            raise Problem(422, detail, field=f"{place}headers")


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """What a message is known by: its id here, its idempotency key at every consumer."""

    id: str
    idempotency_key: str


# Where a message stands in the body.
ALONE = Place("", "")
AMONG_OTHERS = Place("[{}].", "/{}")


async def publish_message(call: Call[MessageForm, NoQuery]) -> bytes:
    """Publishes one message."""
    columns = _columns([call.body], call.traceparent, ALONE.path)

    async def work(transaction: Transaction) -> bytes:
        with transaction.publishing((call.body.channel_id,)):
            [published] = await _publish(transaction, columns)
        return msgspec.json.encode(published)

    return await _once(call, columns, ALONE, work)


async def publish_messages(call: Call[list[MessageForm], NoQuery]) -> bytes:
    """Publishes up to 100 messages in one transaction, in their order: all of them or none."""
    columns = _columns(call.body, call.traceparent, AMONG_OTHERS.path)

    async def work(transaction: Transaction) -> bytes:
        with transaction.publishing(form.channel_id for form in call.body):
            published = await _publish(transaction, columns)
        return msgspec.json.encode(published)

    return await _once(call, columns, AMONG_OTHERS, work)


async def _once(
    call: Call[Any, NoQuery],
    columns: dict[str, object],
    place: Place,
    work: Callable[[Transaction], Awaitable[bytes]],
) -> bytes:
    try:
        return await _checked_once(call, columns, work)
    except DatabaseError as error:
        if error.sqlstate == UNFIT:
            refusal = unfit.problem(call, columns, place, error)
        elif error.diag.column_name == "headers":
            refusal = _headers_fault(call, columns, place)
        else:
            raise
    raise await refusal


async def _checked_once(
    call: Call[Any, NoQuery],
    columns: dict[str, object],
    work: Callable[[Transaction], Awaitable[bytes]],
) -> bytes:
    """A type may be changed between one time and the next."""
    for _ in range(MOST_CHANGES):
        try:
            return await call.database.run(
                lambda transaction: idempotency.once(call, transaction, work)
            )
        except DatabaseError as error:
            if error.sqlstate != UNCHECKED:
                raise
        await checked.check(call, columns)
    raise unavailable("The event type is being changed; send the request again.")


class HeadersFault(msgspec.Struct, frozen=True):
    """What is wrong with the headers of which message, 0 the first."""

    index: int
    sentence: str


# The rules are SQL's alone. It is asked again: the refusal does not say which of the messages.
HEADERS_FAULT: LiteralString = """
    select index - 1 as index, sentence
    from unnest(%(headers)s::text[]) with ordinality as form (headers, index)
    cross join lateral outbox.headers_fault(headers) as sentence
    where sentence is not null
    order by index
    limit 1
"""


async def _headers_fault(
    call: Call[Any, NoQuery], columns: dict[str, object], place: Place
) -> Problem:
    async def work(transaction: Transaction) -> HeadersFault:
        fault = await transaction.one(HeadersFault, HEADERS_FAULT, columns)
        assert fault is not None, "the database refused headers that have no fault"
        return fault

    fault = await call.database.run(work)
    field = f"{place.path.format(fault.index)}headers"
    return Problem(422, f"{field} does not fit: {fault.sentence}.", field=field)


# Group order is the order of ids, so these are drawn in the order of the array.
PUBLISH: LiteralString = """
    with message as materialized (
        select channel, type, payload, group_key, priority, headers, version, pointer, keyword,
               coalesce(given_key, outbox.uuid7()::text) as idempotency_key
        from unnest(%(channels)s::text[], %(types)s::text[], %(payloads)s::bytea[],
                    %(group_keys)s::text[], %(priorities)s::integer[], %(keys)s::text[],
                    %(headers)s::text[], %(versions)s::integer[], %(pointers)s::text[],
                    %(keywords)s::text[])
            with ordinality as form
                (channel, type, payload, group_key, priority, given_key, headers, version, pointer,
                 keyword, position)
        order by position
    )
    select outbox.publish_checked(
               channel, type, payload, version, pointer, keyword, group_key => group_key,
               priority => priority, idempotency_key => idempotency_key,
               headers => headers::json)::text as id,
           idempotency_key
    from message
"""


async def _publish(transaction: Transaction, columns: dict[str, object]) -> list[Published]:
    return await transaction.all(Published, PUBLISH, columns)


def _columns(
    forms: Sequence[MessageForm], traceparent: str | None, place: str
) -> dict[str, object]:
    """The parameters of PUBLISH; `place` is the path of a message in the body, by its index."""
    headers = [_headers(form, traceparent) for form in forms]
    for index, (form, carried) in enumerate(zip(forms, headers, strict=True)):
        _check_sizes(form, carried, place.format(index))
    return {
        "channels": [form.channel_id for form in forms],
        "types": [form.type for form in forms],
        "payloads": [bytes(form.payload) for form in forms],
        "group_keys": [form.group_key for form in forms],
        "priorities": [form.priority for form in forms],
        "keys": [form.idempotency_key for form in forms],
        "headers": headers,
        **checked.nothing(len(forms))._asdict(),
    }


def _headers(form: MessageForm, traceparent: str | None) -> str | None:
    headers = dict(form.headers or {})
    if traceparent is not None and "traceparent" not in map(str.lower, headers):
        headers["traceparent"] = traceparent
    return msgspec.json.encode(headers).decode() if headers else None


def _check_sizes(form: MessageForm, headers: str | None, place: str) -> None:
    """The two limits that are in bytes, which no JSON Schema can say."""
    group_key_bytes = len((form.group_key or "").encode())
    if group_key_bytes > MAX_GROUP_KEY_BYTES:
        detail = f"{place}groupKey is larger than {MAX_GROUP_KEY_BYTES} bytes."
        raise Problem(422, detail, field=f"{place}groupKey")
    size = len(bytes(form.payload)) + group_key_bytes + len((headers or "").encode())
    if size > MAX_MESSAGE_BYTES:
        detail = (
            f"{place}payload, with groupKey and headers, is larger than {MAX_MESSAGE_BYTES} bytes."
        )
        raise Problem(422, detail, field=f"{place}payload")
