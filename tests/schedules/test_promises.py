"""Every way in which a promise can be broken is seen."""

import pytest

from tests.relay.recording import Arrival
from tests.schedules.promises import Committed, broken_promises

COMMITTED = [Committed(1, "a:1:A1"), Committed(2, "b:1:B1"), Committed(3, "a:2:C1")]
KEYS = {one.id: one.idempotency_key for one in COMMITTED}


def arrived(*ids: int) -> list[Arrival]:
    return [Arrival(id, "orders", "g", KEYS.get(id, "a:9:A9"), 0) for id in ids]


def test_other_groups_may_arrive_in_any_order() -> None:
    for ids in ((1, 2, 3), (2, 1, 3), (1, 3, 2)):
        assert broken_promises(COMMITTED, arrived(*ids), []) == []


def test_what_was_in_flight_at_a_crash_may_come_again() -> None:
    assert broken_promises(COMMITTED, arrived(1, 2, 1, 2, 3), [[1, 2]]) == []


@pytest.mark.parametrize(
    ("ids", "cut_off", "broken"),
    [
        ((1, 3), [], "lost: b:1:B1"),
        ((1, 2, 3, 4), [], "seen though nobody committed it: a:9:A9"),
        ((3, 2, 1), [], "out of order: a:1:A1 after a:2:C1"),
        ((1, 2, 3, 1), [], "came 2 times: a:1:A1"),
        ((1, 2, 1, 3), [[2]], "came 2 times: a:1:A1"),
        ((1, 1, 1, 2, 3), [[1]], "came 3 times: a:1:A1"),
    ],
)
def test_a_broken_promise_is_seen(
    ids: tuple[int, ...], cut_off: list[list[int]], broken: str
) -> None:
    assert broken_promises(COMMITTED, arrived(*ids), cut_off) == [broken]


def test_what_a_subscription_does_not_want_has_to_stay_away() -> None:
    unwanted = [COMMITTED[0]._replace(wanted=False), *COMMITTED[1:]]
    assert broken_promises(unwanted, arrived(2, 3), []) == []
    assert broken_promises(unwanted, arrived(1, 2, 3), []) == ["not for it: a:1:A1"]


def test_a_repeat_with_another_key_is_seen() -> None:
    again = Arrival(1, "orders", "g", "a:1:A2", 0)
    broken = broken_promises(COMMITTED, [*arrived(1, 2, 3), again], [[1]])
    assert broken == ["came with the key a:1:A2 instead of a:1:A1"]
