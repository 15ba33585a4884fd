"""GET /v1/dead-letters: what was given up, and why."""

from datetime import datetime
from typing import Literal, LiteralString

import msgspec
from msgspec import UNSET, Raw, UnsetType

from service.platform.fields import EventType, Id, Reason, Time
from service.platform.pages import MAX_ID, Page, PageQuery, number, page, select
from service.platform.permission import WITHHELD, may_see_payloads
from service.problems import Problem
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

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
    `detail` of what an endpoint refused is for keys that may manage.
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
    detail: str | None
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None
    state: State


class WholeDeadLetter(DeadLetter, frozen=True, kw_only=True, rename="camel"):
    """With what it carries: `payload` where that is JSON, else `payloadBase64`, and `headers`.

    To a key without the scope payloads it is shown without them, and `withheld` says so.
    """

    headers: dict[str, str] | UnsetType | None = UNSET
    payload: Raw | UnsetType = UNSET
    payload_base64: bytes | UnsetType = msgspec.field(default=UNSET, name="payloadBase64")
    withheld: str | UnsetType = UNSET


COLUMNS: LiteralString = """
    id::text as id, subscription_id::text as subscription_id, message_id::text as message_id,
    channel as channel_id, type, group_key, priority, idempotency_key, content_type, created_at,
    reason, exhausted, attempts,
    -- An endpoint's own words, which may repeat its URL.
    case when %(whole)s or (select kind from outbox.subscription
                            where id = dead_letter.subscription_id) <> 'http'
         then detail end as detail,
    died_at, redriven_at, delivered_at,
    case when delivered_at is not null then 'delivered'
         when redriven_at is not null then 'redriven' else 'dead' end as state
"""
# The subscription may have read another channel when the message was given up.
ALLOWED: LiteralString = """
    (%(visible)s::bigint[] is null or dead_letter.subscription_id = any (%(visible)s))
    and (%(channels)s::text[] is null or channel = 'outbox.test'
         or outbox.channel_allowed(channel, %(channels)s))
"""
LIST: LiteralString = (
    "select"
    + COLUMNS
    + "from outbox.dead_letter where"
    + ALLOWED
    + """
      and dead_letter.id < %(before)s
      and (%(subscription_id)s::bigint is null or dead_letter.subscription_id = %(subscription_id)s)
      and (%(type)s::text is null or type = %(type)s)
      and (%(reason)s::text is null or reason = %(reason)s)
      and (%(from)s::timestamptz is null or died_at >= %(from)s)
      and (%(to)s::timestamptz is null or died_at < %(to)s)
      and (%(state)s::text is null
           or %(state)s = case when delivered_at is not null then 'delivered'
                               when redriven_at is not null then 'redriven' else 'dead' end)
    order by dead_letter.id desc
    limit %(rows)s
    """
)


async def list_dead_letters(call: Call[None, DeadLetterQuery]) -> Page[DeadLetter]:
    """Dead letters, the newest first."""
    query = call.query
    before, _ = query.place() or (MAX_ID, 0)
    parameters = {
        "before": before,
        "subscription_id": number(query.subscription_id),
        "type": query.type,
        "reason": query.reason,
        "state": query.state,
        "from": query.from_,
        "to": query.to,
        "rows": query.limit + 1,
        "whole": "manage" in call.caller.scopes,
    }
    rows = await select(call, DeadLetter, LIST, parameters)
    return page(rows, query.limit, lambda item: item.id)


class Row(DeadLetter, frozen=True, kw_only=True):
    """A dead letter from SQL, with what it carries."""

    headers: str | None
    payload: bytes


READ: LiteralString = (
    "select"
    + COLUMNS
    + ", headers, payload from outbox.dead_letter where"
    + ALLOWED
    + "and dead_letter.id = %(id)s"
)

_HEADERS = msgspec.json.Decoder(dict[str, str])


async def read_dead_letter(call: Call[None, NoQuery]) -> WholeDeadLetter:
    """One dead letter, with its payload and headers."""
    parameters = {"id": call.id, "whole": "manage" in call.caller.scopes}
    if not (rows := await select(call, Row, READ, parameters)):
        raise Problem(404, "The dead letter does not exist.")
    [row] = rows
    fields = msgspec.structs.asdict(row)
    payload = fields.pop("payload")
    if not may_see_payloads(call.caller):
        del fields["headers"]
        return WholeDeadLetter(withheld=WITHHELD, **fields)
    fields["headers"] = None if row.headers is None else _HEADERS.decode(row.headers)
    if _is_json(payload):
        return WholeDeadLetter(payload=Raw(payload), **fields)
    return WholeDeadLetter(payload_base64=payload, **fields)


def _is_json(payload: bytes) -> bool:
    try:
        payload.decode()
        # Nothing is built of it: for a megabyte of the smallest floats that takes seconds, in which
        # the loop answers no other request.
        msgspec.json.decode(payload, type=Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True
