"""Where nothing is said to break, nothing breaks: what a closed writer may write, an open reader
takes. The judge is the reference validator, the schemas and values are random.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from catalogue.closing import close
from catalogue.compatibility import breaks
from catalogue.schema import Schema, SchemaFault, parse
from tests.catalogue.compatibility.drawn import Drawn, Json
from tests.catalogue.compatibility.opened import opened
from tests.catalogue.instances import Near, written
from tests.catalogue.reference import FORMATS, REFERENCE
from tests.catalogue.schemas import documents

VALUES = 15
QUICK = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=800)

randoms = st.integers(0, 2**64).map(Random)


@QUICK
@given(randoms)
def test_a_changed_schema_that_breaks_nothing_takes_what_its_writers_write(random: Random) -> None:
    hold_changed(random)


@QUICK
@given(randoms)
def test_any_two_schemas_that_break_nothing_take_what_their_writers_write(random: Random) -> None:
    drawn = Drawn(random)
    new = drawn.schema()
    hold(drawn.schema(), new, lambda: drawn.near(new))


@QUICK
@given(randoms)
def test_a_schema_breaks_nothing_as_it_is(random: Random) -> None:
    drawn = Drawn(random)
    schema = drawn.schema()
    assert breaks(schema, schema, direction="forward") == ()
    # Not even where it has to be found out.
    hold({"allOf": [schema], "minLength": 0}, schema, lambda: drawn.near(schema))


@settings(QUICK, max_examples=12)
@given(documents(), randoms)
def test_documents_that_refer_to_themselves_take_what_their_writers_write(
    document: Schema, random: Random
) -> None:
    hold_document(document, random)


@pytest.mark.nightly
@LONG
@given(randoms)
def test_many_changed_schemas_take_what_their_writers_write(random: Random) -> None:
    hold_changed(random)


@pytest.mark.nightly
@settings(LONG, max_examples=80)
@given(documents(), randoms)
def test_many_documents_take_what_their_writers_write(document: Schema, random: Random) -> None:
    hold_document(document, random)


def hold_changed(random: Random) -> None:
    drawn = Drawn(random)
    former = drawn.schema()
    new = drawn.changed(former)
    hold(former, new, lambda: drawn.near(new))
    hold(new, former, lambda: drawn.near(former))


def hold_document(document: Schema, random: Random) -> None:
    former, new = parsed(document), parsed(Drawn(random).changed(document))
    hold(former, new, values_near(new, random))
    hold(new, former, values_near(former, random))


def values_near(schema: Schema, random: Random) -> Callable[[], Json]:
    near = Near(schema, random)
    return lambda: json.loads(near.payload(), parse_float=Decimal)


def hold(old: Schema, new: Schema, value: Callable[[], Json]) -> None:
    """New messages that the reference validator finds right are right to it in the old schema."""
    if breaks(old, new, direction="forward"):
        return
    writer = REFERENCE(close(new), format_checker=FORMATS)
    reader = REFERENCE(opened(old), format_checker=FORMATS)
    values = (value() for _ in range(VALUES))
    wrong = [one for one in values if writer.is_valid(one) and not reader.is_valid(one)]
    assert not wrong, f"{new} writes what {old} does not take"


def parsed(document: Schema) -> Schema:
    try:
        return parse(written(document, Random(0)).encode())
    except SchemaFault:
        assume(False)
        raise
