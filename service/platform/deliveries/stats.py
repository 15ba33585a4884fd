"""GET /v1/stats: each subscription in numbers."""

from datetime import datetime
from typing import Literal, LiteralString

import msgspec

from service.platform.fields import Id
from service.platform.pages import Limit, Page, PageQuery, page, select
from service.web.operations.operation import Call

# Beyond it a backlog is said to be more: counting a long one at every look would cost as much as
# reading it. Of deliveries and dead letters as many are counted for each subscription.
LOOKED_AT_PER_CURSOR = 10_000


class StatsQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """A page here is dearer than elsewhere."""

    limit: Limit = 20


class Backlog(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What waits in the log: at least so many messages where `more`, else exactly."""

    messages: int
    more: bool
    oldest_at: datetime | None
    oldest_age_seconds: float


class DeliveryCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Deliveries by state, each counted up to 10,000, the first three together."""

    untried: int
    retrying: int
    in_flight: int
    behind: int
    parked: int


class Throughput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of the last five minutes."""

    messages: int
    failures: int
    messages_per_second: float


class Stats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One subscription in numbers; `breaker` is null for kinds that have none.

    `deadLetters` wait for a redrive, and are counted up to 10,000.
    """

    subscription_id: Id
    name: str
    paused: bool
    backlog: Backlog
    deliveries: DeliveryCounts
    dead_letters: int
    breaker: Literal["closed", "open", "halfOpen"] | None
    last_five_minutes: Throughput


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The same from SQL."""

    id: str
    name: str
    paused: bool
    backlog: int
    more: bool
    oldest_at: datetime | None
    oldest_age_seconds: float
    untried: int
    retrying: int
    in_flight: int
    behind: int
    parked: int
    dead_letters: int
    breaker: Literal["closed", "open", "halfOpen"] | None
    messages: int
    failures: int


# Checkpoints have no index by time: the first one before the five minutes bounds them by number.
LIST: LiteralString = """
    select s.id::text as id, s.name, s.paused, sum(unread.messages)::bigint as backlog,
           bool_or(unread.more) as more, min(unread.oldest_at) as oldest_at,
           coalesce(extract(epoch from clock_timestamp() - min(unread.oldest_at)), 0)::float8
               as oldest_age_seconds,
           min(held.untried) as untried, min(held.retrying) as retrying,
           min(held.in_flight) as in_flight,
           min(held.behind) as behind, min(held.parked) as parked,
           (select count(*) from (
                select from outbox.dead_letter
                where subscription_id = s.id and redriven_at is null
                order by message_id limit %(look_at)s) as waiting) as dead_letters,
           case when min(b.subscription_id) is null then null
                when min(b.opened_at) is null then 'closed'
                when min(b.retry_at) > clock_timestamp() then 'open' else 'halfOpen' end
               as breaker,
           sum(done.messages)::bigint as messages, sum(done.failures)::bigint as failures
    from (
        select * from outbox.subscription
        where id > %(after)s and (%(visible)s::bigint[] is null or id = any (%(visible)s))
        order by id limit %(rows)s
    ) as s
    left join outbox.breaker as b on b.subscription_id = s.id
    cross join lateral outbox.count_deliveries(s.id, %(look_at)s) as held
    join outbox.cursor as c on c.subscription_id = s.id
    cross join lateral (
        select count(*) filter (where wanted) as messages, count(*) > %(look_at)s as more,
               min(created_at) filter (where wanted) as oldest_at
        from outbox.unread(c.id, %(look_at)s + 1)
    ) as unread
    cross join lateral (
        select coalesce(sum(k.messages), 0) as messages, coalesce(sum(k.failures), 0) as failures
        from outbox.checkpoint as k
        where k.cursor_id = c.id and k.relay <> ''
          and k.n > coalesce((
              select before.n from outbox.checkpoint as before
              where before.cursor_id = c.id
                and before.created_at < clock_timestamp() - interval '5 minutes'
              order by before.n desc limit 1), -1)
    ) as done
    group by s.id, s.name, s.paused
    order by s.id
"""


async def list_stats(call: Call[None, StatsQuery]) -> Page[Stats]:
    """Backlog, age, deliveries by state, dead letters, breaker and throughput, by subscription."""
    after, _ = call.query.place() or (0, 0)
    parameters = {
        "after": after,
        "rows": call.query.limit + 1,
        "look_at": LOOKED_AT_PER_CURSOR,
    }
    rows = await select(call, Row, LIST, parameters)
    return page([_shown(row) for row in rows], call.query.limit, lambda item: item.subscription_id)


def _shown(row: Row) -> Stats:
    return Stats(
        subscription_id=row.id,
        name=row.name,
        paused=row.paused,
        backlog=Backlog(
            messages=row.backlog,
            more=row.more,
            oldest_at=row.oldest_at,
            oldest_age_seconds=row.oldest_age_seconds,
        ),
        deliveries=DeliveryCounts(
            untried=row.untried,
            retrying=row.retrying,
            in_flight=row.in_flight,
            behind=row.behind,
            parked=row.parked,
        ),
        dead_letters=row.dead_letters,
        breaker=row.breaker,
        last_five_minutes=Throughput(
            messages=row.messages,
            failures=row.failures,
            messages_per_second=round(row.messages / 300, 3),
        ),
    )
