"""The AsyncAPI 3.0 document, assembled.

https://www.asyncapi.com/docs/reference/specification/v3.0.0

The platform sends: each channel goes to its topic in Kafka, and to the endpoints of those who
subscribe to it. Headers are as the relay writes them, in relay/kafka/headers.py and
relay/push/requests/headers.py.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Raw

from catalogue import schema
from catalogue.schema import Schema
from service.platform.asyncapi.described import Described, DescribedType, topic_prefix
from service.platform.asyncapi.embedding import embedded, is_followed
from service.settings import KafkaServer, Settings

Object = dict[str, Any]

# Numbers of schemas are Decimal.
_encode = msgspec.json.Encoder(decimal_format="number").encode

KAFKA_BINDING = "0.5.0"
HTTP_BINDING = "0.3.0"
TRAIT = "event"
WEBHOOKS = "webhooks"
ABOUT = (
    "The events of this platform. Every message is a CloudEvent 1.0 in binary mode. It may come "
    "again: drop what carries an idempotency key that was seen. Messages with one group key come "
    "in their order. Payloads are described in JSON Schema 2020-12; consumers ignore what they "
    "don't know."
)


def encoded(described: Described, settings: Settings) -> bytes:
    """The document as JSON."""
    return _encode(document(described, settings))


def document(described: Described, settings: Settings) -> Object:
    """The document, ready to be encoded."""
    by_channel: dict[str, list[DescribedType]] = {}
    for one in described.types:
        for channel in one.channels:
            by_channel.setdefault(channel, []).append(one)
    channels, operations = {}, {}
    for name, types in sorted(by_channel.items()):
        channels[name] = _channel(name, types, described, settings)
        operations[f"send.{name}"] = _operation(name, types)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Event catalogue",
            "version": version("outbox-relay"),
            "description": ABOUT,
        },
        "defaultContentType": "application/json",
        "servers": dict(_servers(settings.kafka_servers)),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {one.type: _message(one) for one in described.types},
            "messageTraits": {TRAIT: _trait()},
            "schemas": {one.type: _schema(one) for one in described.types},
        },
    }


def _servers(kafka: Sequence[KafkaServer]) -> Iterator[tuple[str, Object]]:
    for number, one in enumerate(kafka, 1):
        yield (
            f"kafka{number}",
            {
                "host": one.host,
                "protocol": one.protocol,
                "description": "A broker to begin with; it names the others.",
            },
        )
    yield (
        WEBHOOKS,
        {
            "host": "{endpoint}",
            "protocol": "https",
            "description": "The endpoint of a subscription. Its requests are signed, by Standard "
            "Webhooks.",
            "variables": {"endpoint": {"description": "Host and port of whoever subscribes."}},
        },
    )


def _channel(
    name: str, types: Sequence[DescribedType], described: Described, settings: Settings
) -> Object:
    names = [one.type for one in types]
    channel: Object = {
        "address": name,
        "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in names},
    }
    prefix = topic_prefix(described.routes, name, names, settings.topic_prefix)
    if prefix is not None:
        topic = {"topic": f"{prefix}{name}", "bindingVersion": KAFKA_BINDING}
        channel["bindings"] = {"kafka": topic}
    elif settings.kafka_servers:
        # Without a word it would be on all of them.
        channel["servers"] = [{"$ref": f"#/servers/{WEBHOOKS}"}]
    return channel


def _operation(channel: str, types: Sequence[DescribedType]) -> Object:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"What is published to {channel} is sent to those who subscribe.",
        "messages": [{"$ref": f"#/channels/{channel}/messages/{one.type}"} for one in types],
        "bindings": {"http": {"method": "POST", "bindingVersion": HTTP_BINDING}},
    }


def _message(one: DescribedType) -> Object:
    message: Object = {
        "name": one.type,
        "title": one.type,
        "headers": {"type": "object", "properties": {"ce_type": {"const": one.type}}},
        "payload": {"$ref": f"#/components/schemas/{one.type}"},
        "traits": [{"$ref": f"#/components/messageTraits/{TRAIT}"}],
        "x-version": one.version,
        "x-enforcement": one.enforcement,
        "x-compatibility": one.compatibility,
    }
    if one.description:
        message["summary"] = one.description.partition("\n")[0]
        message["description"] = one.description
    if one.owner:
        message["x-owner"] = one.owner
        message["tags"] = [{"name": one.owner, "description": "The owner."}]
    if one.example is not None and not is_followed(msgspec.json.decode(one.example)):
        message["examples"] = [{"name": "example", "payload": Raw(one.example.encode())}]
    if one.deprecated_on is not None:
        message["x-deprecation"] = {"date": one.deprecated_on, "successor": one.successor}
    return message


def _schema(one: DescribedType) -> Schema:
    parsed = schema.parse(one.schema.encode())
    if isinstance(parsed, bool):
        # Tools take only objects for the schema of a payload.
        parsed = {} if parsed else {"not": {}}
    return embedded(parsed, f"#/components/schemas/{one.type}")


def _text(description: str, **more: object) -> Object:
    return {"type": "string", "description": description, **more}


def _trait() -> Object:
    """What all messages have, in Kafka by these names and over HTTP by those of the binding."""
    key = _text("One identity on every delivery, of a repeat as well.")
    schema_of = _text(
        "Where the schema is read that the message was checked against.", format="uri"
    )
    of_all = {
        "specversion": _text("CloudEvents.", const="1.0"),
        "id": key,
        "type": _text("The type."),
        "source": _text("The platform.", format="uri-reference"),
        "time": _text("When it was written.", format="date-time"),
        "dataschema": schema_of,
    }
    needed = [name for name in of_all if name != "dataschema"]
    content = _text("Of the payload.")
    kafka = {
        **{f"ce_{name}": one for name, one in of_all.items()},
        "content-type": content,
        "idempotency-key": key,
    }
    http = {
        **{f"ce-{name}": one for name, one in of_all.items()},
        "content-type": content,
        "idempotency-key": key,
        "webhook-id": key,
        "webhook-timestamp": _text("When it was signed, in seconds since 1970."),
        "webhook-signature": _text("Of Standard Webhooks, over id, timestamp and body."),
        "replayed": _text("There where the log is sent again.", const="true"),
    }
    return {
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": kafka,
            "required": [*(f"ce_{name}" for name in needed), "content-type", "idempotency-key"],
        },
        "bindings": {
            "kafka": {
                "key": _text("The key of the message's group, if it has one."),
                "bindingVersion": KAFKA_BINDING,
            },
            "http": {
                "headers": {
                    "type": "object",
                    "properties": http,
                    "required": [
                        *(f"ce-{name}" for name in needed),
                        "content-type",
                        "idempotency-key",
                        "webhook-id",
                        "webhook-timestamp",
                        "webhook-signature",
                    ],
                },
                "bindingVersion": HTTP_BINDING,
            },
        },
    }
