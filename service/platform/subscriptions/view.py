"""GET /v1/subscriptions and …/{id}: a subscription as the API shows it."""

import re
from datetime import datetime
from typing import Any, Literal, LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction
from service.platform.fields import Id
from service.platform.pages import MAX_ID, Page, PageQuery, page, select
from service.platform.permission import is_there, no_subscription
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import Breaker, Retry
from service.web.access.authorization import Caller
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

# How a reason begins behind which stands what the endpoint answered.
GONE = "410 Gone"


class BreakerState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether requests are made; `retryAt` is when the half-open one may go."""

    state: Literal["closed", "open", "halfOpen"]
    failing_since: datetime | None
    opened_at: datetime | None
    retry_at: datetime | None


class Counts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Deliveries that are not in the log any more; `deadLetters` wait for a redrive.

    Dead letters are counted up to 10,000, so are those parked, and the other three together.
    """

    untried: int
    retrying: int
    in_flight: int
    parked: int
    dead_letters: int


class Subscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A subscription with all settings that apply; those of an endpoint are of kind http alone.

    `channelId` is there where it reads one channel, `channels` is null where it reads all.
    """

    id: Id
    name: str
    kind: Literal["http", "kafka", "sqs", "pubsub"]
    channel_id: str | UnsetType = UNSET
    channels: list[str] | None
    types: list[str] | None
    delivery: Literal["at_least_once", "exactly_once"]
    shards: int
    paused: bool
    paused_reason: str | None
    created_at: datetime
    counts: Counts
    topic_prefix: str | UnsetType = UNSET
    breaker_state: BreakerState | UnsetType = UNSET
    endpoint: str | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    rate_per_second: float | UnsetType | None = UNSET
    timeout_seconds: float | UnsetType = UNSET
    max_payload_bytes: int | UnsetType = UNSET
    client_errors: str | UnsetType = UNSET
    on_exhausted: str | UnsetType = UNSET
    attempts_log: str | UnsetType = UNSET
    retry: Retry | UnsetType = UNSET
    breaker: Breaker | UnsetType = UNSET


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as SQL has it; `breaker` is NULL for kinds that have none."""

    id: int
    name: str
    kind: Literal["http", "kafka", "sqs", "pubsub"]
    channels: list[str] | None
    read_channels: list[str] | None
    types: list[str] | None
    delivery: Literal["at_least_once", "exactly_once"]
    shards: int
    paused: bool
    paused_reason: str | None
    created_at: datetime
    settings: str
    breaker: Literal["closed", "open", "halfOpen"] | None
    failing_since: datetime | None
    opened_at: datetime | None
    retry_at: datetime | None
    untried: int
    retrying: int
    in_flight: int
    parked: int
    dead_letters: int
    waiting_since: datetime | None
    waiting_reason: str | None
    is_connector: bool


# Beyond it nothing is counted: what one subscription has lying must not hold up the list of all.
MAX_COUNTED = 10_000

READ: LiteralString = """
    select s.id, s.name, s.kind, s.channels, s.read_channels, s.types, s.delivery, s.shards,
           s.paused, s.paused_reason, s.created_at, s.settings::text as settings,
           case when b.subscription_id is null then null when b.opened_at is null then 'closed'
                when b.retry_at > clock_timestamp() then 'open' else 'halfOpen' end as breaker,
           b.failing_since, b.opened_at, b.retry_at,
           held.untried, held.retrying, held.in_flight, held.parked,
           (select count(*) from (
                select from outbox.dead_letter
                where subscription_id = s.id and redriven_at is null
                order by message_id limit %(count)s) as waiting) as dead_letters,
           coalesce(s.waiting_since, absent.waiting_since) as waiting_since,
           coalesce(s.waiting_reason, absent.waiting_reason) as waiting_reason,
           outbox.other_cluster(s.settings) <> '' as is_connector
    from outbox.subscription as s
    left join outbox.breaker as b on b.subscription_id = s.id
    cross join lateral outbox.count_deliveries(s.id, %(count)s) as held
    -- Of a connector that reaches its cluster and finds no topic there, its channel waits alone.
    left join lateral (
        select waiting_since, waiting_reason from outbox.cursor
        where subscription_id = s.id and waiting_since is not null
          and outbox.other_cluster(s.settings) <> ''
        order by waiting_since limit 1
    ) as absent on true
    where s.id >= %(first)s and s.id <= %(last)s
      and (%(visible)s::bigint[] is null or s.id = any (%(visible)s))
      and (not %(connectors)s::boolean or outbox.other_cluster(s.settings) <> '')
    order by s.id
    limit %(rows)s
"""


async def find(transaction: Transaction, caller: Caller, subscription_id: int) -> Subscription:
    """The subscription as it stands, for this caller; Problem 404 if there is none for it."""
    row = await find_row(transaction, caller, subscription_id)
    if row is None:
        raise no_subscription()
    return shown(row, caller)


async def find_row(transaction: Transaction, caller: Caller, subscription_id: int) -> Row | None:
    """The subscription as SQL has it; None where there is none for this caller."""
    parameters = {
        "first": subscription_id,
        "last": subscription_id,
        "rows": 1,
        "visible": None,
        "count": MAX_COUNTED,
        "connectors": False,
    }
    row = await transaction.one(Row, READ, parameters)
    return row if row is not None and is_there(caller, row) else None


def counts(row: Row) -> Counts:
    """What of it is not in the log any more."""
    return Counts(
        untried=row.untried,
        retrying=row.retrying,
        in_flight=row.in_flight,
        parked=row.parked,
        dead_letters=row.dead_letters,
    )


def breaker_state(row: Row) -> BreakerState:
    """Of a kind that has a breaker."""
    assert row.breaker is not None
    return BreakerState(
        state=row.breaker,
        failing_since=row.failing_since,
        opened_at=row.opened_at,
        retry_at=row.retry_at,
    )


def shown(row: Row, caller: Caller) -> Subscription:
    """The row with all settings that apply, and what of it the caller may see."""
    settings = msgspec.json.decode(row.settings)
    shown: dict[str, Any] = {
        "id": str(row.id),
        "pausedReason": row.paused_reason,
        "createdAt": row.created_at,
        "counts": counts(row),
    }
    for name in ("name", "kind", "channels", "types", "delivery", "shards", "paused"):
        shown[name] = getattr(row, name)
    if row.channels is not None and len(row.channels) == 1:
        shown["channelId"] = row.channels[0]
    if row.kind == "http":
        shown |= endpoint_settings.effective(settings)
        shown["breakerState"] = breaker_state(row)
    elif "topic_prefix" in settings:
        shown["topicPrefix"] = settings["topic_prefix"]
    if "manage" not in caller.scopes:
        shown |= _withheld(shown)
    return msgspec.convert(shown, Subscription)


def _withheld(shown: dict[str, Any]) -> dict[str, Any]:
    """What an endpoint's URL, and the endpoint's own words, are to a key that does not manage.

    Path and query may hold a token, with which a reader could send in the platform's name.
    """
    kept: dict[str, Any] = {}
    if "endpoint" in shown:
        origin = re.match(r"https?://[\w.:\[\]-]*", shown["endpoint"])
        kept["endpoint"] = f"{origin[0] if origin else ''}/…"
    if (reason := shown["pausedReason"]) is not None:
        kept["pausedReason"] = GONE if reason.startswith(GONE) else reason
    return kept


async def list_subscriptions(call: Call[None, PageQuery]) -> Page[Subscription]:
    """All subscriptions, by id; endpoints without path and query unless the key may manage."""
    rows = await list_rows(call, connectors=False)
    items = [shown(row, call.caller) for row in rows]
    return page(items, call.query.limit, lambda item: item.id)


async def list_rows(call: Call[None, PageQuery], *, connectors: bool) -> list[Row]:
    """Those of a page, and one more where there is another page; of connectors alone, or of all."""
    after, _ = call.query.place() or (0, 0)
    parameters = {
        "first": after + 1,
        "last": MAX_ID,
        "rows": call.query.limit + 1,
        "count": MAX_COUNTED,
        "connectors": connectors,
    }
    return await select(call, Row, READ, parameters)


async def read_subscription(call: Call[None, NoQuery]) -> Subscription:
    """One subscription; its endpoint without path and query unless the key may manage."""
    return await call.database.run(lambda transaction: find(transaction, call.caller, call.id))
