"""What several subscriptions want together, and which of them wants a message: counted in looks."""

import itertools
from collections import Counter

import pytest

from relay.log import filters
from relay.log.filters import Filter, Part, Sorter, union
from relay.log.message import Row

CHANNELS = ("orders", "parcels", "outbox.events")
TYPES = ("paid", "sent", "lost")


def row(channel: str, type_: str, shard: int = 0) -> Row:
    marks = shard * 1024
    return (
        1,
        channel.encode(),
        type_.encode(),
        None,
        b"k",
        None,
        b"text/plain",
        b"",
        0,
        None,
        marks,
    )


def test_of_many_types_no_statement_names_more_than_so_many() -> None:
    """One that is alone in its reading still says all of its own: nobody else sorts for it."""
    many = [Filter.of(["orders"], [f"{n}.{k}".ljust(50) for k in range(100)]) for n in range(60)]
    assert union(many).types is None
    some = many[: filters.MAX_CHARACTERS // (100 * 50)]
    assert len(union(some).types or ()) == 100 * len(some)
    # What several want alike counts once.
    alike = [Filter.of([f"c{n}"], some[0].types) for n in range(60)]
    assert union(alike).types == sorted(some[0].types or ())
    alone = Filter.of(["orders"], [f"t{n}".ljust(50) for n in range(1000)])
    assert len(union([alone, alone]).types or ()) == 1000


def test_whoever_wants_every_type_has_every_type_read() -> None:
    assert union([Filter.of(["a"], ["t"]), Filter.of(None, None)]) == filters.Union(
        True, ["a"], None
    )
    assert union([Filter.of(["a"], ["t"]), Filter.of(["b"], [])]) == filters.Union(
        False, ["a", "b"], ["t"]
    )


def test_a_row_costs_what_takes_it_however_many_filters_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Counter[tuple[str, str]]()
    wants = Filter.wants

    def counted(one: Filter, channel: str, type_: str) -> bool:
        asked[channel, type_] += 1
        return wants(one, channel, type_)

    monkeypatch.setattr(Filter, "wants", counted)
    parts = [Part(Filter.of(["orders"], [f"t{n}"]), None) for n in range(60)]
    sorter = Sorter(parts)
    for _ in range(3):
        rows = [row("orders", f"t{n % 2}") for n in range(100)]
        assert sorter.sort(rows) == {parts[0]: rows[::2], parts[1]: rows[1::2]}
    # Once each of all.
    assert asked == {("orders", "t0"): 60, ("orders", "t1"): 60}


def test_a_row_goes_to_its_own_shard_and_to_whoever_takes_them_all() -> None:
    every, sent = Filter.of(None, None), Filter.of(None, ["sent"])
    parts = [*(Part(every, shard) for shard in range(3)), Part(sent, 1), Part(every, None)]
    rows = [row("orders", type_, shard) for type_ in ("paid", "sent") for shard in range(3)]
    assert Sorter(parts).sort(rows) == {
        parts[0]: [rows[0], rows[3]],
        parts[1]: [rows[1], rows[4]],
        parts[2]: [rows[2], rows[5]],
        parts[3]: [rows[4]],
        parts[4]: rows,
    }


@pytest.mark.parametrize("channels", [None, [], ["orders"], ["orders", "outbox.events"]])
@pytest.mark.parametrize("types", [None, [], ["paid"], ["paid", "lost"]])
def test_what_is_asked_of_many_kinds_at_once_is_what_is_asked_of_each(
    channels: list[str] | None, types: list[str] | None
) -> None:
    one = Filter.of(channels, types)
    kinds = list(itertools.product(CHANNELS, TYPES))
    for number in range(1 << len(kinds)):
        told: dict[str, set[str]] = {}
        for place, (channel, type_) in enumerate(kinds):
            if number >> place & 1:
                told.setdefault(channel, set()).add(type_)
        expected = any(one.wants(name, type_) for name, some in told.items() for type_ in some)
        assert one.wants_any(told) == expected
