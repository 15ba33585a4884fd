"""GET /v1/connectors and …/{id}: a connector as the API shows it."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from service.database.transaction import Transaction
from service.platform.connectors import (
    event_hubs_config,
    inward,
    pubsub_config,
    sqs_config,
)
from service.platform.connectors.config import KafkaConfig, effective, effective_inward
from service.platform.connectors.event_hubs_config import EventHubsConfig
from service.platform.connectors.pubsub_config import PubsubConfig
from service.platform.connectors.sqs_config import SqsConfig
from service.platform.connectors.waiting import shown_reason
from service.platform.fields import Id
from service.platform.pages import MAX_ID, Page, PageQuery, page
from service.platform.permission import require_operable
from service.platform.subscriptions.view import (
    BreakerState,
    Counts,
    Row,
    breaker_state,
    counts,
    find_row,
    list_rows,
)
from service.problems import Problem
from service.web.access.authorization import Caller, lacking_scope
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

Direction = Literal["out", "in"]


class Common(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """What a connector of each type has.

    `waitingReason` says why none can go: in the relay's own words to keys that operate and are not
    limited to channels, else in one of a few sentences.
    """

    id: Id
    name: str
    channel_id: str | None
    direction: Direction = "out"
    types: list[str] | None
    shards: int
    paused: bool
    paused_reason: str | None
    waiting_since: datetime | None
    waiting_reason: str | None
    created_at: datetime
    counts: Counts


class KafkaConnector(Common, frozen=True, kw_only=True, rename="camel", tag="kafka"):
    """A subscription whose messages go to another cluster, or a topic whose records come in.

    What comes in enters with `priority`.
    """

    config: KafkaConfig
    priority: int | None = None
    lag: int | None = None
    entered: int | None = None


class SqsConnector(Common, frozen=True, kw_only=True, rename="camel", tag="sqs"):
    """A subscription whose messages go to a queue, or a queue whose messages come in.

    The latter has no breaker, and its messages enter with `priority`.
    """

    config: SqsConfig
    breaker_state: BreakerState | None
    priority: int | None = None
    lag: int | None = None
    entered: int | None = None


class EventHubsConnector(Common, frozen=True, kw_only=True, rename="camel", tag="event_hubs"):
    """A subscription whose messages go to Azure Event Hubs."""

    config: EventHubsConfig


class PubsubConnector(Common, frozen=True, kw_only=True, rename="camel", tag="pubsub"):
    """A subscription whose messages go to a topic of Pub/Sub.

    `waitingReason` says why none can go, as a relay noted it; it is shown to keys that may operate.
    """

    config: PubsubConfig
    breaker_state: BreakerState


Connector = KafkaConnector | SqsConnector | EventHubsConnector | PubsubConnector


async def find(transaction: Transaction, caller: Caller, connector_id: int) -> Connector:
    """The connector as it stands, for this caller; Problem 404 if there is none for it."""
    row = await find_row(transaction, caller, connector_id)
    if row is not None and row.is_connector:
        return shown(row, caller)
    for source in await inward.read(transaction, caller, connector_id, connector_id, 1):
        return shown_inward(source, caller)
    raise no_connector()


def no_connector() -> Problem:
    """404, whether there is none or none for this caller."""
    return Problem(404, "The connector does not exist.")


async def require(transaction: Transaction, caller: Caller, connector_id: int) -> Connector:
    """Raises Problem where there is no such connector for this caller, or not to be changed."""
    found = await find(transaction, caller, connector_id)
    if found.direction == "out":
        await require_operable(transaction, caller, connector_id)
    elif "operate" not in caller.scopes:
        raise lacking_scope(caller, "operate")
    return found


async def require_outward(transaction: Transaction, caller: Caller, connector_id: int) -> Connector:
    """The same, and Problem 409 for one of direction in."""
    found = await require(transaction, caller, connector_id)
    if found.direction == "in":
        raise Problem(409, "The connector is of direction in; only those of direction out do that.")
    return found


def shown(row: Row, caller: Caller) -> Connector:
    """The row, and what of it the caller may see."""
    settings = msgspec.json.decode(row.settings)
    common: dict[str, Any] = {
        "id": str(row.id),
        "name": row.name,
        "channel_id": row.channels[0] if row.channels and len(row.channels) == 1 else None,
        "types": row.types,
        "shards": row.shards,
        "paused": row.paused,
        "paused_reason": row.paused_reason,
        "waiting_since": row.waiting_since,
        "waiting_reason": shown_reason(row.waiting_reason, caller),
        "created_at": row.created_at,
        "counts": counts(row),
    }
    if row.kind == "sqs":
        queue = sqs_config.effective(settings)
        return SqsConnector(**common, config=queue, breaker_state=breaker_state(row))
    if row.kind == "pubsub":
        topic = pubsub_config.effective(settings)
        return PubsubConnector(**common, config=topic, breaker_state=breaker_state(row))
    if "namespace" in settings:
        to_hub = event_hubs_config.effective(settings, row.delivery)
        return EventHubsConnector(**common, config=to_hub)
    return KafkaConnector(**common, config=effective(settings, row.delivery))


def shown_inward(source: inward.Source, caller: Caller) -> Connector:
    """The same of one that takes in what a topic or a queue holds."""
    settings = msgspec.json.decode(source.settings)
    common: dict[str, Any] = {
        "id": str(source.id),
        "name": source.name,
        "channel_id": source.channel,
        "direction": "in",
        "types": None,
        "shards": 1,
        "priority": source.priority,
        "paused": source.paused,
        "paused_reason": source.paused_reason,
        "waiting_since": source.waiting_since,
        "waiting_reason": shown_reason(source.waiting_reason, caller),
        "created_at": source.created_at,
        "counts": Counts(
            untried=0, retrying=0, in_flight=0, parked=0, dead_letters=source.dead_letters
        ),
        "lag": source.lag,
        "entered": source.entered,
    }
    if source.kind == "sqs":
        config = sqs_config.effective_inward(settings)
        return SqsConnector(**common, config=config, breaker_state=None)
    return KafkaConnector(**common, config=effective_inward(settings))


async def list_connectors(call: Call[None, PageQuery]) -> Page[Connector]:
    """All connectors, by id."""
    rows = await list_rows(call, connectors=True)
    after, _ = call.query.place() or (0, 0)
    sources = await call.database.run(
        lambda transaction: inward.read(
            transaction, call.caller, after + 1, MAX_ID, call.query.limit + 1
        )
    )
    items: list[Connector] = [shown(row, call.caller) for row in rows]
    items += [shown_inward(source, call.caller) for source in sources]
    items.sort(key=lambda item: int(item.id))
    return page(items, call.query.limit, lambda item: item.id)


async def read_connector(call: Call[None, NoQuery]) -> Connector:
    """One connector."""
    return await call.database.run(lambda transaction: find(transaction, call.caller, call.id))
