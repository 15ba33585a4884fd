"""Of foreign headers the log takes what its own rules allow, and no record fails by them."""

import tracemalloc
from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from relay.sources import headers
from relay.sources.headers import fold
from tests.sql.log import Session

NAMES = [
    "traceparent", "X-Tenant", "x.tenant", "x_tenant", "ce_type", "ce-id", "ce", "cents", "te",
    "Content-Type", "idempotency_key", "webhook.id", "proxy", "proxies", "sec-x", "x!y", "", "ü",
    "a b", "n" * 128, "n" * 129, "outbox-path", "replayed", "via", "\x7f", "x-forwarded-for",
]  # fmt: skip
VALUES = ["", "plain", "ümlaut", "a\tb", "\x00", "\x7f", "\x9f", '"\\', "v" * 5000, "𝄞", "\u2028"]


def encoded(given: Sequence[tuple[str, str]]) -> str | None:
    """Of names with their values."""
    return headers.encoded([name for name, _ in given], [value for _, value in given])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_the_log_takes(db: Session, seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        given = [
            (random.choice(NAMES), random.choice(VALUES)) for _ in range(random.randint(1, 12))
        ]
        kept = encoded(given)
        if kept is not None:
            row = db.execute("select outbox.headers_fault(%s)", (kept,)).fetchone()
            assert row == (None,), given


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_left_out_exactly_where_the_log_refuses_it(db: Session, name: str) -> None:
    row = db.execute(
        "select outbox.headers_fault(%s)", (msgspec.json.encode({name: "v"}).decode(),)
    ).fetchone()
    assert row is not None
    assert bool(fold(name)) == (row[0] is None), row


def test_too_many_and_too_large_ones_are_cut_from_the_end() -> None:
    many = encoded([(f"h{n}", "v") for n in range(150)])
    assert many is not None
    assert list(msgspec.json.decode(many)) == [f"h{n}" for n in range(100)]
    large = encoded([("first", "v" * 9000), ("second", "v" * 9000)])
    assert large is not None
    assert list(msgspec.json.decode(large)) == ["first"]


def test_of_a_name_that_comes_twice_the_last_counts() -> None:
    assert encoded([("tenant", "a"), ("Tenant", "b")]) == '{"Tenant":"b"}'


@pytest.mark.timeout(20)
def test_of_very_many_each_is_looked_at_once() -> None:
    """As many as the attributes of an event that fills a record."""
    large = [(f"a{n}", "v" * 170) for n in range(100)]
    many = encoded([*large, *((f"b{n}", "") for n in range(80_000))])
    assert many is not None
    names = list(msgspec.json.decode(many))
    assert len(names) > 80
    assert names == [name for name, _ in large[: len(names)]]


def test_no_name_that_is_too_long_is_remembered() -> None:
    tracemalloc.start()
    try:
        for n in range(20):
            assert encoded([(f"{n}" + "n" * 1_000_000, "v")]) is None
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 1_000_000
