"""A catalogue as a shop has it: for tests that look at pages, and for their screenshots."""

import json
from typing import Any

import psycopg

from tests.event_types import register

Schema = dict[str, Any]

MONEY: Schema = {
    "type": "object",
    "description": "An amount in the smallest unit of its currency.",
    "required": ["amount", "currency"],
    "properties": {
        "amount": {"type": "integer", "minimum": 0, "maximum": 100_000_000},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217."},
    },
}
ORDER: Schema = {
    "type": "object",
    "required": ["orderId", "createdAt", "total", "lines"],
    "properties": {
        "orderId": {"type": "string", "format": "uuid", "description": "Never used again."},
        "createdAt": {"type": "string", "format": "date-time"},
        "total": {"$ref": "#/$defs/Money"},
        "lines": {
            "type": "array",
            "minItems": 1,
            "maxItems": 500,
            "items": {
                "type": "object",
                "required": ["sku", "quantity", "price"],
                "properties": {
                    "sku": {"type": "string", "minLength": 1, "maxLength": 64},
                    "quantity": {"type": "integer", "minimum": 1},
                    "price": {"$ref": "#/$defs/Money"},
                },
            },
        },
    },
    "$defs": {"Money": MONEY},
}
EXAMPLE = {
    "orderId": "0190f2c6-7f4e-7cc1-8a6d-0d6a3f0b7e11",
    "createdAt": "2026-11-30T12:41:07Z",
    "total": {"amount": 4180, "currency": "EUR"},
    "lines": [
        {"sku": "TEA-200", "quantity": 2, "price": {"amount": 1490, "currency": "EUR"}},
        {"sku": "CUP-1", "quantity": 1, "price": {"amount": 1200, "currency": "EUR"}},
    ],
    "channel": "web",
}
HOSTILE = "<script>document.title='taken'</script>"
LONG_CHANNEL = "c" * 200


def wider(schema: Schema, **properties: Schema) -> Schema:
    return {**schema, "properties": {**schema["properties"], **properties}}


def fill(database: psycopg.Connection[Any]) -> None:
    """Registers the types and publishes a week of messages."""
    with_channel = wider(ORDER, channel={"enum": ["web", "app", "desk"]})
    with_coupon = wider(
        with_channel,
        coupon={"oneOf": [{"type": "null"}, {"type": "string", "maxLength": 20}]},
        tags={"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    )
    about = (
        "A customer has ordered, and nothing is paid yet.\n\n"
        "What follows has the same group key, the order's id: order.paid, order.shipped, "
        "order.cancelled."
    )
    fields: dict[str, object] = {
        "channels": ["orders.lifecycle", "audit"],
        "owner": "Checkout team",
    }
    register(database, "order.created", ORDER, **fields)
    register(database, "order.created", with_channel, **fields)
    last = {**fields, "description": about, "example": json.dumps(EXAMPLE)}
    register(database, "order.created", with_coupon, **last)
    paid = {"orderId": {"type": "string", "format": "uuid"}, "amount": {"type": "number"}}
    plain: Schema = {"type": "object", "required": ["orderId"], "properties": paid}
    for name in ("order.paid", "order.shipped", "order.cancelled"):
        register(
            database,
            name,
            plain,
            description=f"The order was {name[6:]}.",
            channels=["orders.lifecycle"],
            owner="Checkout team",
        )
    register(
        database,
        "payment.success",
        {"type": "object", "properties": {"paymentId": {"type": "string"}}},
        description="A provider has confirmed a payment, and an order took it.",
        channels=["payments"],
        owner="Payments",
        enforcement="report",
    )
    register(
        database,
        "payment.unapplied",
        {"type": "object", "properties": {"reason": {"type": "string"}}},
        description="Money came that no order took: somebody has to look.",
        channels=["payments"],
        owner="Payments",
        compatibility="none",
        enforcement="off",
    )
    register(
        database,
        "payment.unapplied",
        {
            "type": "object",
            "required": ["reason"],
            "properties": {"reason": {"enum": ["unknown_order", "cancelled"]}},
        },
        description="Money came that no order took: somebody has to look.",
        channels=["payments"],
        owner="Payments",
        compatibility="none",
        enforcement="off",
    )
    register(
        database,
        "customer.registered",
        plain,
        description="Replaced, since it told too much of a person.",
        channels=["customers"],
        owner="Accounts",
        deprecated_on="2026-06-30",
        successor="customer.registered.v2",
    )
    register(
        database,
        "customer.registered.v2",
        plain,
        description="Somebody has an account now.",
        channels=["customers"],
        owner="Accounts",
    )
    register(
        database,
        "hostile",
        {
            "type": "object",
            "description": HOSTILE,
            "properties": {HOSTILE: {"const": HOSTILE}, "t": {"pattern": "<b>.*</b>"}},
        },
        description=f"Says {HOSTILE} & \"'>.",
        example=json.dumps({HOSTILE: HOSTILE}),
        channels=[LONG_CHANNEL],
        owner=HOSTILE,
    )
    subscribe(database)
    publish(database)


def subscribe(database: psycopg.Connection[Any]) -> None:
    database.execute(
        """
        insert into outbox.subscription (name, kind, channels, types, settings, paused)
        values ('warehouse', 'http', '{orders.lifecycle}', '{order.created,order.paid}',
                '{"endpoint": "https://warehouse.example/secret-token"}', false),
               ('billing', 'http', '{payments,orders.lifecycle}', null,
                '{"endpoint": "https://billing.example/"}', false),
               ('newsletter', 'http', '{customers}', null,
                '{"endpoint": "https://news.example/"}', true)
        """
    )


UNFIT = """
    select outbox.publish('payments', 'payment.success', '{"paymentId": 1}')
"""


def publish(database: psycopg.Connection[Any]) -> None:
    """More each day of the week; three payments that do not fit."""
    database.execute("alter table outbox.message disable trigger user")
    database.execute(
        """
        insert into outbox.message (channel, type, payload, created_at)
        select channel, type, convert_to('{}', 'UTF8'),
               now() - make_interval(days => 6 - day, mins => 5)
        from (values ('orders.lifecycle', 'order.created', 40),
                     ('orders.lifecycle', 'order.paid', 30),
                     ('orders.lifecycle', 'order.shipped', 21),
                     ('payments', 'payment.success', 34),
                     ('customers', 'customer.registered.v2', 3)) as of_type (channel, type, often)
        cross join generate_series(0, 6) as day
        cross join generate_series(1, often * (day + 3) / (1 + (day % 3))) as n
        """
    )
    database.execute("alter table outbox.message enable trigger user")
    for _ in range(3):
        database.execute(UNFIT)
