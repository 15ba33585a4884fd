"""POST /v1/connectors: another system gets what is published to a channel, or the other way."""

from typing import Any, ClassVar, Literal, LiteralString

import msgspec
from msgspec import UNSET
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import fields_of, note
from service.platform.connectors import inward
from service.platform.connectors.config import (
    DEFAULT_DELIVERY,
    NewKafkaConfig,
    merged,
    require_within,
)
from service.platform.connectors.event_hubs_config import NewEventHubsConfig
from service.platform.connectors.pubsub_config import NewPubsubConfig
from service.platform.connectors.refusal import refused
from service.platform.connectors.sqs_config import NewSqsConfig
from service.platform.connectors.view import Connector, Direction, find
from service.platform.fields import ChannelId, EventTypes, Priority, SubscriptionName
from service.platform.permission import require_channel
from service.platform.subscriptions.creation import Shards
from service.platform.subscriptions.endpoint_settings import PushSettings
from service.problems import Problem
from service.web.operations.operation import Call, Reply
from service.web.operations.query import NoQuery


class ConnectorForm(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    tag_field="type",
):
    """What a new connector of each type has."""

    name: SubscriptionName
    channel_id: ChannelId
    types: EventTypes | None = None
    shards: Shards = 1


DEFAULT_PRIORITY = 3


def _either_way(out: dict[str, Any], taken_in: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form for both directions, with that of its config in each."""
    outward = {"direction": {"const": "out"}, "priority": {"const": DEFAULT_PRIORITY}}
    inward = {"direction": {"const": "in"}, "types": {"type": "null"}, "shards": {"const": 1}}
    return {
        "anyOf": [
            {"properties": {**outward, "config": out}},
            {"required": ["direction"], "properties": {**inward, "config": taken_in}},
        ]
    }


def _none_of(*names: str) -> dict[str, Any]:
    """The schema of a config that says nothing of these."""
    return {"properties": {name: {"type": "null"} for name in names}}


class EitherWayForm(ConnectorForm, frozen=True, kw_only=True, rename="camel"):
    """What a new connector has of a type that goes in either direction.

    `priority` is of direction in: that of the messages that enter.
    """

    direction: Direction = "out"
    priority: Priority = DEFAULT_PRIORITY


class KafkaConnectorForm(EitherWayForm, frozen=True, kw_only=True, rename="camel", tag="kafka"):
    """A new connector: it gets what is published from now on, or takes in what a topic holds."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = _either_way(
        {"required": ["brokers"], "not": {"required": ["from"]}},
        {
            "required": ["topic"],
            "properties": {"topic": {"type": "string"}},
            "not": {"required": ["delivery"]},
            # Of the relay's own cluster nothing is said.
            "anyOf": [
                {"required": ["brokers"]},
                _none_of("security", "saslMechanism", "credentials"),
            ],
        },
    )

    config: NewKafkaConfig


class SqsConnectorForm(EitherWayForm, frozen=True, kw_only=True, rename="camel", tag="sqs"):
    """A new connector: it gets what is published from now on, or takes in what a queue holds."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = _either_way(
        _none_of("unwrap"),
        _none_of(*(field.encode_name for field in msgspec.structs.fields(PushSettings))),
    )

    config: NewSqsConfig


class EventHubsConnectorForm(
    ConnectorForm, frozen=True, kw_only=True, rename="camel", tag="event_hubs"
):
    """A new connector to Azure Event Hubs: it gets what is published from now on."""

    direction: Literal["out"] = "out"
    config: NewEventHubsConfig


class PubsubConnectorForm(ConnectorForm, frozen=True, kw_only=True, rename="camel", tag="pubsub"):
    """A new connector to a topic of Pub/Sub: it gets what is published from now on."""

    direction: Literal["out"] = "out"
    config: NewPubsubConfig


NewConnector = KafkaConnectorForm | SqsConnectorForm | EventHubsConnectorForm | PubsubConnectorForm


CONNECT: LiteralString = """
    select outbox.connect(%(name)s, %(channel)s, %(type)s, %(config)s::jsonb, %(types)s::text[],
                          %(shards)s, %(delivery)s, %(made_by)s)
"""


async def create_connector(call: Call[NewConnector, NoQuery]) -> Reply:
    """Connects a channel to another system, from now on."""
    form = call.body
    if isinstance(form, EitherWayForm):
        _demand_meant(form)
    require_channel(call.caller, form.channel_id, "channelId")
    settings, delivery = merged({}, DEFAULT_DELIVERY, form.config)
    require_within(call.caller, settings)
    parameters = {
        "name": form.name,
        "channel": form.channel_id,
        "type": form.__struct_config__.tag,
        "config": msgspec.json.encode(settings).decode(),
        "types": form.types,
        "shards": form.shards,
        "delivery": delivery,
        # Keys that are limited have a share of the cursors by name, and operate these alone.
        "made_by": None if call.caller.channels is None else call.caller.name,
    }

    async def work(transaction: Transaction) -> Connector:
        if isinstance(form, EitherWayForm) and form.direction == "in":
            given = {**parameters, "priority": form.priority}
            made: int | None = await inward.create(transaction, call.caller, given)
        else:
            made = await transaction.value(int, CONNECT, parameters)
        assert made is not None
        await note(transaction, call, "connector.create", made, fields_of(form))
        return await find(transaction, call.caller, made)

    try:
        created = await call.database.run(work)
    except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
        raise refused(error) from None
    return Reply(created, {"Location": f"/v1/connectors/{created.id}"})


REQUIRED = "is required"
OF_IN = "is of direction in"
OF_OUT = "is of direction out"
# A field, and what is wrong with it.
Fault = tuple[str, str]


def _demand_meant(form: EitherWayForm) -> None:
    """Raises Problem for what means nothing in this direction; SQL knows the rest."""
    fault = _outward_fault(form) if form.direction == "out" else _inward_fault(form)
    if fault is not None:
        raise Problem(422, f"{fault[0]} {fault[1]}.", field=fault[0])


def _outward_fault(form: EitherWayForm) -> Fault | None:
    if form.priority != DEFAULT_PRIORITY:
        return "priority", OF_IN
    if isinstance(form, KafkaConnectorForm):
        if not isinstance(form.config.brokers, str):
            return "config.brokers", REQUIRED
        if form.config.from_ is not UNSET:
            return "config.from", OF_IN
    return None


def _inward_fault(form: EitherWayForm) -> Fault | None:
    if form.types is not None:
        return "types", OF_OUT
    if form.shards != 1:
        return "shards", OF_OUT
    if isinstance(form, KafkaConnectorForm):
        if not isinstance(form.config.topic, str):
            return "config.topic", REQUIRED
        if form.config.delivery is not UNSET:
            return "config.delivery", OF_OUT
    return None
