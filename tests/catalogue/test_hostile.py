"""Nothing that a schema or a payload may hold keeps a path busy.

Each bound is some fifty times what it takes here, so that only what grows without one misses it.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from catalogue.closing import close
from catalogue.rules import Untranslatable, translate
from catalogue.schema import Schema, SchemaFault
from catalogue.validation import Validator
from tests.catalogue.paths import FITS, faults_in_sql, parameters, schema
from tests.sql.log import Session

BOUND_SECONDS = 20.0


def timed(work: Callable[[], Any]) -> float:
    """Seconds of the wall clock."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def ask(db: Session, asked: Schema, payload: bytes) -> None:
    """In SQL and here, both the answer and the faults."""
    rules = translate(asked)
    db.execute(FITS, {**parameters(rules), "payload": payload})
    faults_in_sql(db, rules, payload)
    Validator(asked).faults(payload)


# Each with a text on which an engine that backtracks, or makes every state beforehand, hangs.
PATTERNS = {
    "^(a+)+$": "a" * 50_000 + "!",
    "^(a|a)*$": "a" * 50_000 + "!",
    "^(?:a|b)*a(?:a|b){12}$": "ab" * 25_000 + "!",
    "(x+x+)+y": "x" * 50_000,
    "^(?:a?){100}a{100}$": "a" * 150,
    "(?:.*a){12}": "a" * 11 + "b" * 50_000,
    "^(?:[a-z]{1,20}){1,20}!$": "a" * 50_000,
    "(?:(?:(?:a*)*)*)*b": "a" * 50_000,
    "^(?:a|ab|abc|b|c|bc)*$": "abc" * 20_000 + "d",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_that_backtracks_elsewhere_takes_no_time(db: Session, pattern: str) -> None:
    asked = schema({"pattern": pattern})
    payload = json.dumps(PATTERNS[pattern]).encode()
    assert timed(lambda: ask(db, asked, payload)) < BOUND_SECONDS


def refuse(value: Any) -> None:
    with pytest.raises((SchemaFault, Untranslatable)):
        translate(schema(value))


COUNTED = [
    "(?:a{255}){255}",
    "(?:(?:a{0,250}){0,250}){0,250}",
    "(?:a{1,100}b{1,100}){100}",
    r"\p{L}{9999}" * 9,
]


@pytest.mark.parametrize("pattern", COUNTED)
def test_a_huge_count_is_refused_before_it_is_written_out(pattern: str) -> None:
    assert timed(lambda: refuse({"pattern": pattern})) < BOUND_SECONDS


def test_the_largest_pattern_that_is_taken_compiles_soon(db: Session) -> None:
    largest = schema({"pattern": "^" + "(?:a?b?c?d?)" * 30 + "$"})
    assert timed(lambda: ask(db, largest, json.dumps("abcd" * 30).encode())) < BOUND_SECONDS


def doubling(levels: int) -> dict[str, Any]:
    """Two references at each level, to the same next one."""
    defs: dict[str, Any] = {str(levels): {}}
    for level in range(levels):
        further = {"$ref": f"#/$defs/{level + 1}"}
        defs[str(level)] = {"properties": {"a": further, "b": further}}
    return {"$ref": "#/$defs/0", "$defs": defs}


BINARY = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}


@pytest.mark.parametrize("value", [doubling(40), BINARY], ids=["doubling", "binary"])
def test_references_that_multiply_are_refused_soon(value: Any) -> None:
    assert timed(lambda: refuse(value)) < BOUND_SECONDS
    assert timed(lambda: close(schema(value))) < BOUND_SECONDS


def test_alternatives_of_alternatives_are_refused_soon() -> None:
    value: Any = {"type": "string"}
    for _ in range(12):
        value = {"oneOf": [value, {"type": "number"}, value]}
    assert timed(lambda: refuse(value)) < BOUND_SECONDS


def test_the_longest_schema_is_read_soon() -> None:
    longest = {"properties": {f"property{n}": {"type": "string"} for n in range(990)}}
    assert timed(lambda: translate(close(schema(longest)))) < BOUND_SECONDS


PAYLOADS: dict[str, tuple[Any, bytes]] = {
    "equal items": ({"uniqueItems": True}, b"[" + b"1," * 200_000 + b"1]"),
    "different items": ({"uniqueItems": True}, json.dumps(list(range(120_000))).encode()),
    "items that are almost equal": (
        {"uniqueItems": True}, json.dumps([["a" * 20, n] for n in range(20_000)]).encode(),
    ),
    "huge numbers to divide": (
        {"items": {"multipleOf": 0.01}}, b"[" + b"1e131071," * 20_000 + b"1]",
    ),
    "tiny numbers to divide": ({"items": {"multipleOf": 7}}, b"[" + b"1e-16383," * 20_000 + b"1]"),
    "huge numbers to compare": (
        {"items": {"type": "integer", "minimum": 5}, "uniqueItems": True},
        b"[" + b",".join(b"%de131000" % n for n in range(20_000)) + b"]",
    ),
    "as many digits as there may be": ({"items": {"multipleOf": 3}}, b"[" + b"9" * 131_000 + b"]"),
    "thousands of members": (
        {"additionalProperties": False, "patternProperties": {"^x": True}},
        json.dumps({f"a{n}": n for n in range(30_000)}).encode(),
    ),
    "thousands of faults": ({"items": {"type": "string"}}, b"[" + b"1," * 30_000 + b"1]"),
    "levels": (True, b"[" * 490_000),
    "objects in objects": (
        {"additionalProperties": {"$ref": "#"}}, b'{"a":' * 64 + b"1" + b"}" * 64,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "payload"), PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_is_checked_in_time(db: Session, asked: Any, payload: bytes) -> None:
    assert timed(lambda: ask(db, schema(asked), payload)) < BOUND_SECONDS
