"""PATCH /v1/connectors/{id}."""

from functools import cache, partial
from typing import LiteralString

import msgspec
from msgspec import UNSET, UnsetType
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import fields_of, note
from service.platform.connectors import inward
from service.platform.connectors.config import Delivery, KafkaConfig, merged, require_within
from service.platform.connectors.event_hubs_config import EventHubsConfig
from service.platform.connectors.pubsub_config import PubsubConfig
from service.platform.connectors.refusal import refused
from service.platform.connectors.sqs_config import SqsConfig
from service.platform.connectors.view import (
    Connector,
    EventHubsConnector,
    KafkaConnector,
    PubsubConnector,
    SqsConnector,
    find,
    no_connector,
    require,
)
from service.platform.fields import EventTypes, SubscriptionName
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.bodies import body
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class ConnectorChange(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    name: SubscriptionName | UnsetType = UNSET
    types: EventTypes | UnsetType | None = UNSET


class KafkaConnectorChange(ConnectorChange, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    config: KafkaConfig | UnsetType = UNSET


class SqsConnectorChange(ConnectorChange, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    config: SqsConfig | UnsetType = UNSET


class EventHubsConnectorChange(ConnectorChange, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    config: EventHubsConfig | UnsetType = UNSET


class PubsubConnectorChange(ConnectorChange, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    config: PubsubConfig | UnsetType = UNSET


Change = (
    KafkaConnectorChange | SqsConnectorChange | EventHubsConnectorChange | PubsubConnectorChange
)
SHAPES: dict[type[Connector], type[Change]] = {
    KafkaConnector: KafkaConnectorChange,
    SqsConnector: SqsConnectorChange,
    EventHubsConnector: EventHubsConnectorChange,
    PubsubConnector: PubsubConnectorChange,
}


class Locked(msgspec.Struct, frozen=True):
    """What of a connector is about to change."""

    name: str
    types: list[str] | None
    delivery: Delivery
    settings: str


LOCK: LiteralString = """
    select name, types, delivery, settings::text as settings
    from outbox.subscription where id = %(id)s for no key update
"""
CHANGE: LiteralString = """
    update outbox.subscription
    set name = %(name)s, types = %(types)s::text[], delivery = %(delivery)s,
        settings = %(settings)s::jsonb
    where id = %(id)s
"""


async def change_connector(call: Call[None, NoQuery]) -> Connector:
    """Changes what the body names; in force within a second or two."""
    connector = await call.database.run(
        lambda transaction: require(transaction, call.caller, call.id)
    )
    # The body does not say of which type the connector is, which is fixed.
    decode = partial(body.decode, _decoder(connector))
    async with call.decoding.begin(call.raw_body, decode) as change:
        try:
            return await call.database.run(partial(_change, call, change))
        except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
            raise refused(error) from None


@cache
def _decoder_of(shape: type[Change]) -> "msgspec.json.Decoder[Change]":
    return msgspec.json.Decoder(shape)


def _decoder(connector: Connector) -> "msgspec.json.Decoder[Change]":
    return _decoder_of(SHAPES[type(connector)])


async def _change(call: Call[None, NoQuery], change: Change, transaction: Transaction) -> Connector:
    caller, connector_id = call.caller, call.id
    # It may not be the caller's any more.
    connector = await require(transaction, caller, connector_id)
    if connector.direction == "in":
        await _change_inward(transaction, caller, connector_id, change)
    else:
        await _change_outward(transaction, caller, connector_id, change)
    await note(transaction, call, "connector.change", connector_id, fields_of(change))
    # It may have been moved to another channel before it was locked.
    return await find(transaction, caller, connector_id)


async def _change_outward(
    transaction: Transaction, caller: Caller, connector_id: int, change: Change
) -> None:
    locked = await transaction.one(Locked, LOCK, {"id": connector_id})
    if locked is None:
        raise no_connector()
    settings, delivery = msgspec.json.decode(locked.settings), locked.delivery
    if change.config is not UNSET:
        settings, delivery = merged(settings, delivery, change.config)
    require_within(caller, settings)
    parameters = {
        "id": connector_id,
        "name": locked.name if change.name is UNSET else change.name,
        "types": locked.types if change.types is UNSET else change.types,
        "delivery": delivery,
        "settings": msgspec.json.encode(settings).decode(),
    }
    await transaction.execute(CHANGE, parameters)


async def _change_inward(
    transaction: Transaction, caller: Caller, source_id: int, change: Change
) -> None:
    """Its topic or queue, channel and priority stay; SQL knows why."""
    if change.types is not UNSET and change.types is not None:
        raise _meaningless("types", "is of direction out")
    config = change.config
    if isinstance(config, KafkaConfig) and config.delivery is not UNSET:
        raise _meaningless("config.delivery", "is of direction out")
    if isinstance(config, KafkaConfig) and config.from_ is not UNSET:
        raise _meaningless("config.from", "is where it began; seek begins anew")
    name = None if change.name is UNSET else change.name
    await inward.change(transaction, caller, source_id, name, config)


def _meaningless(field: str, why: str) -> Problem:
    return Problem(422, f"{field} {why}.", field=field)
