"""/v1/dead-letters: what was given up, why, and sending it again."""

from datetime import datetime
from typing import Annotated, Literal, LiteralString

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from service.database import Transaction
from service.events.fields import EventType, Id, Reason, Time
from service.events.operation import Call, NoQuery
from service.events.pages import Page, PageQuery, number, page, select
from service.problems import Problem

MAX_REDRIVEN = 10_000

State = Literal["dead", "redriven", "delivered"]


class DeadLetterQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """Filters; `from` and `to` are about when the message was given up."""

    subscription_id: Id | None = None
    type: EventType | None = None
    reason: Reason | None = None
    state: State | None = None
    from_: Time | None = msgspec.field(default=None, name="from")
    to: Time | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One message that one subscription gave up.

    `exhausted` is the limit that was used up, null where the message was refused for what it is.
    `state`: dead, redriven while it is on its way again, or delivered since.
    """

    id: Id
    subscription_id: Id
    message_id: Id
    channel_id: str
    type: str
    group_key: str | None
    priority: int
    idempotency_key: str
    content_type: str
    created_at: datetime
    reason: str
    detail: str
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None
    state: State


class WholeDeadLetter(DeadLetter, frozen=True, kw_only=True, rename="camel"):
    """With what it carries: `payload` where that is JSON, else `payloadBase64`."""

    headers: dict[str, str] | None
    payload: Raw | UnsetType = UNSET
    payload_base64: bytes | UnsetType = msgspec.field(default=UNSET, name="payloadBase64")


class Redrive(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Which letters: `ids`, or those of a subscription, further narrowed down."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    subscription_id: Id | UnsetType = UNSET
    type: EventType | None = None
    from_: Time | None = msgspec.field(default=None, name="from")
    to: Time | None = None


class Redriven(msgspec.Struct, frozen=True):
    """How many go again; `more` letters fit than one request redrives."""

    redriven: int
    more: bool


LIST: LiteralString = """
    select id::text as id, subscription_id::text as subscription_id,
           message_id::text as message_id, channel as channel_id, type, group_key, priority,
           idempotency_key, content_type, created_at, reason, detail, exhausted, attempts,
           died_at, redriven_at, delivered_at,
           case when delivered_at is not null then 'delivered'
                when redriven_at is not null then 'redriven' else 'dead' end as state
    from outbox.dead_letter as letter
    where letter.id < %(before)s
      and (%(subscription_id)s::bigint is null or letter.subscription_id = %(subscription_id)s)
      and (%(type)s::text is null or type = %(type)s)
      and (%(reason)s::text is null or reason = %(reason)s)
      and (%(from)s::timestamptz is null or died_at >= %(from)s)
      and (%(to)s::timestamptz is null or died_at < %(to)s)
      and (%(state)s::text is null
           or %(state)s = case when delivered_at is not null then 'delivered'
                               when redriven_at is not null then 'redriven' else 'dead' end)
    order by letter.id desc
    limit %(rows)s
"""
BEYOND_ALL_IDS = 2**63 - 1


async def list_dead_letters(call: Call[None, DeadLetterQuery]) -> Page[DeadLetter]:
    """Dead letters, the newest first."""
    query = call.query
    before, _ = query.place() or (BEYOND_ALL_IDS, 0)
    parameters = {
        "before": before,
        "subscription_id": number(query.subscription_id),
        "type": query.type,
        "reason": query.reason,
        "state": query.state,
        "from": query.from_,
        "to": query.to,
        "rows": query.limit + 1,
    }
    rows = await select(call.database, DeadLetter, LIST, parameters)
    return page(rows, query.limit, lambda item: item.id)


class Row(DeadLetter, frozen=True, kw_only=True):
    """A letter from SQL, with what it carries."""

    headers: str | None
    payload: bytes


READ: LiteralString = """
    select id::text as id, subscription_id::text as subscription_id,
           message_id::text as message_id, channel as channel_id, type, group_key, priority,
           idempotency_key, content_type, created_at, reason, detail, exhausted, attempts,
           died_at, redriven_at, delivered_at,
           case when delivered_at is not null then 'delivered'
                when redriven_at is not null then 'redriven' else 'dead' end as state,
           headers, payload
    from outbox.dead_letter as letter
    where letter.id = %(id)s
"""


async def read_dead_letter(call: Call[None, NoQuery]) -> WholeDeadLetter:
    """One dead letter, with its payload and headers."""

    async def work(transaction: Transaction) -> Row | None:
        return await (await transaction.select(Row, READ, {"id": call.id})).fetchone()

    if (row := await call.database.run(work)) is None:
        raise Problem(404, "The dead letter does not exist.")
    fields = msgspec.structs.asdict(row)
    fields["headers"] = msgspec.json.decode(row.headers) if row.headers is not None else None
    if _is_json(row.payload):
        fields["payload"] = Raw(row.payload)
    else:
        del fields["payload"]
        fields["payload_base64"] = row.payload
    return WholeDeadLetter(**fields)


def _is_json(payload: bytes) -> bool:
    try:
        payload.decode()
        msgspec.json.decode(payload)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True


# In the order of their messages, so that a part of a group's letters is its first part.
REDRIVE: LiteralString = """
    with chosen as materialized (
        select array(
            select letter.id from outbox.dead_letter as letter
            where letter.subscription_id = %(subscription_id)s and letter.redriven_at is null
              and (%(type)s::text is null or letter.type = %(type)s)
              and (%(from)s::timestamptz is null or letter.died_at >= %(from)s)
              and (%(to)s::timestamptz is null or letter.died_at < %(to)s)
            order by letter.message_id
            limit %(at_most)s + 1) as ids
    )
    select outbox.redrive(ids[1:%(at_most)s]) as redriven, cardinality(ids) > %(at_most)s as more
    from chosen
"""
REDRIVE_THESE: LiteralString = "select outbox.redrive(%(ids)s::bigint[]) as redriven, false as more"


class Unknown(msgspec.Struct, frozen=True):
    """What the request names and the database does not have."""

    id: str


UNKNOWN_SUBSCRIPTION: LiteralString = """
    select wanted::text as id from (select %(subscription_id)s::bigint as wanted) as given
    where not exists (select from outbox.subscription where id = wanted)
"""
UNKNOWN_LETTER: LiteralString = """
    select wanted::text as id from unnest(%(ids)s::bigint[]) as wanted
    where not exists (select from outbox.dead_letter where id = wanted)
    limit 1
"""


async def _require(
    transaction: Transaction,
    unknown: LiteralString,
    noun: str,
    field: str,
    parameters: dict[str, object],
) -> None:
    if missing := await (await transaction.select(Unknown, unknown, parameters)).fetchone():
        detail = f"There is no {noun} {missing.id}, and nothing was redriven."
        raise Problem(422, detail, field=field)


async def redrive(call: Call[Redrive, NoQuery]) -> Redriven:
    """Sends letters again, in order and with their idempotency keys; a second time adds none."""
    form = call.body
    if (form.ids is UNSET) == (form.subscription_id is UNSET):
        raise Problem(422, "Give ids or subscriptionId, one of them.", field="ids")
    statement, unknown = REDRIVE_THESE, (UNKNOWN_LETTER, "dead letter", "ids")
    parameters: dict[str, object] = {}
    if form.ids is not UNSET:
        for name, value in (("type", form.type), ("from", form.from_), ("to", form.to)):
            if value is not None:
                raise Problem(422, f"{name} narrows down subscriptionId, not ids.", field=name)
        parameters = {"ids": [int(written) for written in form.ids]}
    if form.subscription_id is not UNSET:
        statement = REDRIVE
        unknown = (UNKNOWN_SUBSCRIPTION, "subscription", "subscriptionId")
        parameters = {
            "subscription_id": int(form.subscription_id),
            "type": form.type,
            "from": form.from_,
            "to": form.to,
            "at_most": MAX_REDRIVEN,
        }

    async def work(transaction: Transaction) -> Redriven:
        await _require(transaction, *unknown, parameters)
        done = await (await transaction.select(Redriven, statement, parameters)).fetchone()
        assert done is not None
        return done

    return await call.database.run(work)
