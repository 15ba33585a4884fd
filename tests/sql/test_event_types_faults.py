"""The fault of a large payload is found in the publisher's transaction, without holding it up."""

import json
from typing import Any, LiteralString

import psycopg
import pytest

from catalogue.closing import close
from catalogue.rules import translate
from tests.catalogue.paths import FAULTS, faults_in_sql, parameters, schema
from tests.event_types import LINES, MANY, many_lines, register
from tests.sql.log import Session, one

PUBLISH: LiteralString = "select outbox.publish('orders', 'order.lines', %s::json)"
# Some twenty times what it takes, and a tenth of what it took to look at every place by itself.
BOUND: LiteralString = "set statement_timeout = '5s'"


def test_the_one_item_of_the_largest_payload_that_does_not_fit_is_found_soon(db: Session) -> None:
    register(db, "order.lines", LINES)
    db.execute(BOUND)
    with pytest.raises(psycopg.DatabaseError) as refused:
        db.execute(PUBLISH, [many_lines()])
    assert refused.value.sqlstate == "OB422"
    assert str(refused.value.diag.message_detail).startswith(f'at "/{MANY}/sku" (type): ')


def test_what_fits_is_asked_for_no_fault(db: Session) -> None:
    register(db, "order.lines", LINES)
    db.execute("set track_functions = 'all'")
    payload = many_lines(9).replace("7", '"7"').encode()
    with db.transaction():
        faults = "select count(*) from outbox.event_faults(%s, null, %s, 20)"
        type_id = one(db, "select id from outbox.event_type")
        assert one(db, faults, type_id, payload) == 0
        assert called(db, "payload_places") == 0


def called(db: Session, function: str) -> int:
    """How often, in this transaction."""
    calls = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = %s"
    return int(one(db, calls, function))


@pytest.mark.parametrize("at_most", [1, 20])
def test_no_place_is_looked_at_behind_the_last_fault_that_is_wanted(
    db: Session, at_most: int
) -> None:
    db.execute("set track_functions = 'all'")
    rules = translate(schema({"items": {"type": "string"}, "maxItems": 9}))
    with db.transaction():
        faults = faults_in_sql(db, rules, json.dumps([1] * 10_000).encode(), at_most)
        assert len(faults) == at_most
        assert at_most <= called(db, "payload_keeps") < at_most + 5


def test_a_rule_that_holds_is_asked_once(db: Session) -> None:
    db.execute("set track_functions = 'all'")
    rules = translate(close(schema(LINES)))
    with db.transaction():
        [fault] = faults_in_sql(db, rules, many_lines(1000).encode())
        assert (fault.pointer, fault.keyword) == ("/1000/sku", "type")
        # Each rule once, and for the one that fails each of the items.
        looked = len(rules.singles) + len(rules.checks) + 1005
        assert 1000 < called(db, "payload_keeps") <= looked


WIDE: dict[str, tuple[Any, bytes, str]] = {
    "items": ({"items": {"type": "integer"}}, b"[" + b"1," * 110_000 + b'"a"]', ""),
    "items further in": (
        {"properties": {"a": {"items": {"type": "integer"}}}},
        b'{"a": [' + b"1," * 110_000 + b'"a"]}', "/a",
    ),
    "members": (
        {"additionalProperties": {"type": "integer"}},
        json.dumps({**{f"{n:x}": n for n in range(110_000)}, "zzzzzz": "a"}).encode(), "",
    ),
    "lengths": (
        {"items": {"maxLength": 300}}, json.dumps(["a"] * 110_000 + ["a" * 301]).encode(), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "payload", "pointer"), WIDE.values(), ids=WIDE.keys())
def test_of_more_places_than_are_looked_at_what_holds_them_is_named(
    db: Session, asked: Any, payload: bytes, pointer: str
) -> None:
    db.execute(BOUND)
    given = {**parameters(translate(schema(asked))), "payload": payload, "at_most": 20}
    assert [row[0] for row in db.execute(FAULTS, given).fetchall()] == [pointer]
