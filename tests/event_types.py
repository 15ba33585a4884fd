"""Registers event types on a database, by the same steps as service and relay do."""

import json
from typing import Any

import msgspec
import psycopg

from catalogue import registration
from relay.commands.connection import migrated
from relay.operate import catalogue, event_type_files
from service.payments.event_types import DIRECTORY
from tests.relay.operating import settings

Schema = dict[str, Any] | bool

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["orderId"],
    "properties": {"orderId": {"type": "string"}, "total": {"type": "number"}},
}
# Fits the first, and does not.
FITS, DOES_NOT = '{"orderId": "1"}', '{"orderId": 1}'

LINE = "select * from outbox.event_type_line(%(type)s, %(schema)s)"
PUT = """
    select outbox.put_event_type(
        %(type)s, %(channels)s::text[], %(description)s, %(owner)s, %(enforcement)s,
        %(compatibility)s, %(example)s, %(expected)s, %(expected_id)s, %(schema)s, %(closed)s,
        %(decides)s::jsonpath, %(checks)s::jsonb, %(singles)s::jsonb, %(not_in_sql)s, %(made_by)s,
        %(of_key)s, %(deprecated_on)s::date, %(successor)s)
"""


def parameters(
    connection: psycopg.Connection[Any], type_: str, schema: Schema = ORDER, **fields: object
) -> dict[str, Any]:
    """Of PUT, as the catalogue is now; `fields` over the defaults."""
    enforcement: Any = fields.get("enforcement", "refuse")
    prepared = registration.prepare(json.dumps(schema).encode(), enforcement)
    rows = connection.execute(LINE, {"type": type_, "schema": prepared.written}).fetchall()
    line = [registration.Version(*row) for row in rows]
    compatibility: Any = fields.get("compatibility", "full")
    expected = registration.expected(prepared, line, compatibility)
    return {
        **msgspec.structs.asdict(prepared),
        "type": type_,
        "schema": prepared.written,
        "channels": ["orders"],
        "description": "",
        "owner": "",
        "enforcement": "refuse",
        "compatibility": "full",
        "example": None,
        "expected": expected.version,
        "expected_id": expected.event_type_id,
        "made_by": "test",
        "of_key": None,
        "deprecated_on": None,
        "successor": None,
        **fields,
    }


def register(
    connection: psycopg.Connection[Any], type_: str, schema: Schema = ORDER, **fields: object
) -> int:
    """The version that is in force then."""
    put = parameters(connection, type_, schema, **fields)
    row = connection.execute(PUT, put).fetchone()
    assert row is not None
    return int(row[0])


def register_sale(database_url: str) -> list[str]:
    """Those of the payment example, from their files; their names."""
    with migrated(settings(database_url)) as connection:
        definitions = event_type_files.read(DIRECTORY)
        return [one.type for one in catalogue.apply(connection, definitions)]


# Lines of an order; and as many of them as a message holds, of which the last does not fit.
LINES: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["sku", "price"],
        "properties": {
            "sku": {"type": "string", "minLength": 1, "maxLength": 300},
            "price": {"type": "number", "minimum": 0},
        },
    },
}
MANY = 31_600


def many_lines(many: int = MANY) -> str:
    """980 KB; at /31600/sku it does not fit."""
    return "[" + '{"sku": "abcdef", "price": 1}, ' * many + '{"sku": 7, "price": 1}]'
