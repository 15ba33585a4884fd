"""The checker can fail: each kind of broken promise is found, and named."""

import pytest

from tests.chaos import checker
from tests.chaos.checker import Arrival, Committed, DeadLetter, Verdict, check

LOG = {
    "a1": Committed(1, "orders", "order.paid", 11, 3, b"a", 11, oversize=False),
    "b1": Committed(2, "orders", "order.paid", 12, 3, b"b", 12, oversize=False),
    "a2": Committed(3, "orders", "order.paid", 13, 3, b"a", 13, oversize=False),
    "a3": Committed(4, "orders", "order.paid", 14, 1, b"a", 14, oversize=False),
    "n1": Committed(5, "orders", "order.paid", 15, 3, None, 15, oversize=False),
    "big": Committed(6, "orders", "order.paid", 16, 3, b"a", 16, oversize=True),
}
SMALL = [key for key, message in LOG.items() if not message.oversize]
BIG = DeadLetter("big", "MSG_SIZE_TOO_LARGE")


def arrive(*keys: str) -> list[Arrival]:
    """These messages, in this order in one partition, as they were committed."""
    return [
        Arrival(LOG[key].channel, 0, offset, LOG[key].group_key, key, LOG[key].checksum)
        for offset, key in enumerate(keys)
    ]


def judge(
    arrivals: list[Arrival],
    dead_letters: tuple[DeadLetter, ...] = (BIG,),
    exactly_once: bool = True,
) -> Verdict:
    return check(
        "kafka", exactly_once=exactly_once, log=LOG, arrivals=arrivals, dead_letters=dead_letters
    )


def test_everything_once_in_order_and_the_expected_letter_is_right() -> None:
    verdict = judge(arrive(*SMALL))
    assert verdict.broken == {}
    assert (verdict.committed, verdict.delivered, verdict.dead_letters) == (6, 5, 1)


def test_a_message_that_never_arrived_is_lost() -> None:
    verdict = judge(arrive("a1", "a2", "a3", "n1"))
    assert verdict.broken == {checker.LOST: 1}
    assert "key b1" in verdict.examples[checker.LOST][0]


def test_first_arrivals_of_one_group_the_wrong_way_round_are_out_of_order() -> None:
    verdict = judge(arrive("a2", "b1", "a1", "a3", "n1"))
    assert verdict.broken == {checker.DISORDERED: 1}
    assert "key a1" in verdict.examples[checker.DISORDERED][0]


def test_priorities_and_groups_may_overtake_each_other() -> None:
    assert judge(arrive("n1", "a3", "b1", "a1", "a2")).broken == {}


def test_a_repeat_is_counted_at_least_once_and_broken_exactly_once() -> None:
    arrivals = arrive("a1", "b1", "a2", "a1", "a3", "n1")
    at_least_once = judge(arrivals, exactly_once=False)
    assert (at_least_once.broken, at_least_once.repeats) == ({}, 1)
    assert judge(arrivals).broken == {checker.REPEATED: 1}


def test_what_was_rolled_back_and_arrives_is_found() -> None:
    ghost = Arrival("orders", 0, 9, b"a", "undone", 99)
    assert judge([*arrive(*SMALL), ghost]).broken == {checker.UNCOMMITTED: 1}


@pytest.mark.parametrize(
    "change", [{"checksum": 99}, {"group_key": b"z"}, {"group_key": None}, {"channel": "other"}]
)
def test_a_message_that_is_not_what_was_written_is_found(change: dict[str, object]) -> None:
    first, *others = arrive(*SMALL)
    verdict = judge([first._replace(**change), *others])  # type: ignore[arg-type]
    assert verdict.broken == {checker.ALTERED: 1, checker.LOST: 1}


def test_a_repeat_under_another_messages_key_is_found() -> None:
    repeat = arrive("a1")[0]._replace(idempotency_key="b1")
    verdict = judge([*arrive(*SMALL), repeat], exactly_once=False)
    assert verdict.broken == {checker.ALTERED: 1}


def test_a_message_without_its_idempotency_key_is_found() -> None:
    first, *others = arrive(*SMALL)
    verdict = judge([first._replace(idempotency_key=None), *others])
    assert verdict.broken == {checker.UNKEYED: 1, checker.LOST: 1}


def test_an_unexpected_letter_is_found_and_its_message_not_called_lost() -> None:
    dead_letters = (BIG, DeadLetter("b1", "MSG_SIZE_TOO_LARGE"))
    assert judge(arrive("a1", "a2", "a3", "n1"), dead_letters).broken == {
        checker.UNEXPECTED_DEAD_LETTER: 1
    }


def test_a_dead_letter_for_what_never_committed_is_found() -> None:
    dead_letters = (BIG, DeadLetter("undone", "MSG_SIZE_TOO_LARGE"))
    assert judge(arrive(*SMALL), dead_letters).broken == {checker.UNEXPECTED_DEAD_LETTER: 1}


def test_a_missing_dead_letter_is_found() -> None:
    assert judge(arrive(*SMALL), ()).broken == {checker.MISSING_DEAD_LETTER: 1}


def test_a_dead_letter_written_twice_is_found() -> None:
    assert judge(arrive(*SMALL), (BIG, BIG)).broken == {checker.TWICE_DEAD: 1}


def test_a_message_that_is_both_dead_letter_and_delivered_is_found() -> None:
    assert judge(arrive(*SMALL, "big")).broken == {checker.DEAD_AND_DELIVERED: 1}


def test_examples_are_few_and_counts_are_whole() -> None:
    verdict = judge(arrive(*SMALL, *["a1"] * 50))
    assert verdict.broken == {checker.REPEATED: 50}
    assert len(verdict.examples[checker.REPEATED]) == checker.MAX_EXAMPLES
