"""GET /v1/attempts: the requests that were logged, and what came of each."""

from datetime import datetime
from typing import LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.platform.fields import Id
from service.platform.pages import MAX_ID, Page, PageQuery, number, page, select
from service.platform.permission import WITHHELD, may_see_payloads
from service.web.access.authorization import Caller
from service.web.operations.operation import Call


class AttemptQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """Filters."""

    subscription_id: Id | None = None
    message_id: Id | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request; `answer` is the beginning of what a failed one was answered, as text.

    `answer` is for keys with the scope payloads: without it `withheld` says so where there is one.
    `detail` is for keys that may manage.
    """

    id: Id
    subscription_id: Id
    message_id: Id
    idempotency_key: str
    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    detail: str | None
    next_at: datetime | None
    answer: str | None
    relay: str
    withheld: str | UnsetType = UNSET


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The same from SQL: an answer is any bytes."""

    id: str
    subscription_id: str
    message_id: str
    idempotency_key: str
    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    detail: str | None
    next_at: datetime | None
    answer: bytes | None
    relay: str


# A range of one index for each subscription, put together: no index is on the id alone. A row holds
# one attempt at least, so the newest rows hold a page; most are not looked into.
OF_SUBSCRIPTIONS: LiteralString = """
    select a.id::text as id, a.subscription_id::text as subscription_id,
           a.message_id::text as message_id, a.idempotency_key, a.number, a.at,
           a.duration_seconds, a.status, a.error, a.detail, a.next_at, a.answer, a.relay
    from (
        select s.id as subscription_id, newest.id
        from (
            select id from outbox.subscription
            where kind <> 'kafka' and %(subscription_id)s::bigint is null
              and (%(visible)s::bigint[] is null or id = any (%(visible)s))
            union all
            select %(subscription_id)s::bigint
            where %(subscription_id)s::bigint is not null
              and (%(visible)s::bigint[] is null or %(subscription_id)s = any (%(visible)s))
        ) as s
        cross join lateral (
            select id from outbox.attempt_log
            where subscription_id = s.id and id < %(before)s
            order by id desc limit %(rows)s
        ) as newest
        order by newest.id desc
        limit %(rows)s
    ) as log
    cross join lateral (
        select * from outbox.attempt
        where subscription_id = log.subscription_id and log_id = log.id and id < %(before)s
    ) as a
    order by log.id desc, a.id desc
    limit %(rows)s
"""
OF_MESSAGE: LiteralString = """
    select id::text as id, subscription_id::text as subscription_id,
           message_id::text as message_id, idempotency_key, number, at, duration_seconds, status,
           error, detail, next_at, answer, relay
    from outbox.attempts_at(%(message_id)s) as attempt
    where attempt.id < %(before)s
      and (%(subscription_id)s::bigint is null or attempt.subscription_id = %(subscription_id)s)
      and (%(visible)s::bigint[] is null or attempt.subscription_id = any (%(visible)s))
    order by attempt.id desc
    limit %(rows)s
"""


async def list_attempts(call: Call[None, AttemptQuery]) -> Page[Attempt]:
    """Logged attempts, the newest first; without a filter those of all subscriptions there are."""
    before, _ = call.query.place() or (MAX_ID, 0)
    parameters = {
        "subscription_id": number(call.query.subscription_id),
        "message_id": number(call.query.message_id),
        "before": before,
        "rows": call.query.limit + 1,
    }
    statement = OF_SUBSCRIPTIONS if call.query.message_id is None else OF_MESSAGE
    rows = await select(call, Row, statement, parameters)
    items = [_shown(row, call.caller) for row in rows]
    return page(items, call.query.limit, lambda item: item.id)


def _shown(row: Row, caller: Caller) -> Attempt:
    fields = msgspec.structs.asdict(row)
    if "manage" not in caller.scopes:
        # It may repeat the endpoint's URL, or where that wanted to redirect to.
        fields["detail"] = None
    if row.answer is not None:
        if may_see_payloads(caller):
            fields["answer"] = row.answer.decode(errors="replace")
        else:
            fields |= {"answer": None, "withheld": WITHHELD}
    return Attempt(**fields)
