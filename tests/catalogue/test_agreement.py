"""SQL, jsonschema-rs and the reference give the same answer to every pair of schema and payload."""

from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from catalogue.closing import close
from catalogue.rules import Rules, Untranslatable, translate
from catalogue.schema import Schema, SchemaFault, parse
from catalogue.validation import Validator
from tests.catalogue import reference
from tests.catalogue.instances import Near, written
from tests.catalogue.paths import answers
from tests.catalogue.schemas import documents
from tests.sql.log import Session


@st.composite
def pairs(draw: st.DrawFn, payloads: int = 40) -> tuple[Schema, Rules, list[bytes]]:
    """A schema, open or closed, its rules, and payloads near its borders."""
    made = draw(documents())
    random = Random(draw(st.integers(0, 2**32)))
    try:
        schema = parse(written(made, random).encode())
        near = Near(schema, random)
        schema = close(schema) if draw(st.booleans()) else schema
        rules = translate(schema)
    except (SchemaFault, Untranslatable):
        assume(False)
    return schema, rules, [near.payload() for _ in range(payloads)]


def agree(db: Session, schema: Schema, rules: Rules, payloads: list[bytes]) -> None:
    validator, judge = Validator(schema), reference.judge(schema)
    asked = written(schema, Random(0))
    for payload, (fits, told) in zip(payloads, answers(db, rules, payloads), strict=True):
        faults = validator.faults(payload, limit=1000)
        pair = (asked, payload)
        assert fits == judge(payload), ("SQL, reference", *pair)
        assert fits == (not faults), ("SQL, jsonschema-rs", faults, *pair)
        if told is not None and b'""' not in payload:  # jsonschema-rs points past an empty name.
            assert set(told) == {" ".join(fault) for fault in faults}, pair


QUICK = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.long
@pytest.mark.timeout(600)
@QUICK
@given(pair=pairs())
def test_every_path_gives_the_same_answer(
    db: Session, pair: tuple[Schema, Rules, list[bytes]]
) -> None:
    agree(db, *pair)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@settings(QUICK, max_examples=260)
@given(pair=pairs(payloads=80))
def test_every_path_gives_the_same_answer_to_twenty_thousand_pairs(
    database_url: str, pair: tuple[Schema, Rules, list[bytes]]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        agree(db, *pair)
