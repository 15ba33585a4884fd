"""What stands in the files: of each type its schema, made of its shape, and an example."""

import inspect
from typing import Any

import msgspec

from service.payments import completion, lifecycle
from service.payments.event_types import examples
from service.payments.sale_event import SaleEvent
from service.payments.webhook import unapplied

OWNER = "payments"

EVENTS: tuple[tuple[SaleEvent[Any], msgspec.Struct], ...] = (
    (lifecycle.CREATED, examples.CREATED),
    (lifecycle.PAID, examples.PAID),
    (lifecycle.SHIPPED, examples.SHIPPED),
    (lifecycle.DELIVERED, examples.DELIVERED),
    (lifecycle.CANCELLED, examples.CANCELLED),
    (completion.SUCCESS, examples.SUCCESS),
    (unapplied.UNAPPLIED, examples.UNAPPLIED),
)


def files() -> dict[str, bytes]:
    """By their names."""
    return {f"{event.name}.json": _file(event, example) for event, example in EVENTS}


def _file(event: SaleEvent[Any], example: msgspec.Struct) -> bytes:
    """As `outbox-relay catalogue export` writes it."""
    definition = {
        "type": event.name,
        "description": inspect.getdoc(event.shape),
        "owner": OWNER,
        "channels": [event.channel],
        "enforcement": "refuse",
        "compatibility": "full",
        "schema": _schema(event.shape),
        "example": example,
    }
    return msgspec.json.format(msgspec.json.encode(definition), indent=2) + b"\n"


def _schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Of the shape itself, with those that it is made of as its definitions."""
    (schema,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    root = definitions.pop(schema["$ref"].rpartition("/")[2])
    # The type says it.
    del root["description"]
    return {**root, "$defs": definitions} if definitions else root
