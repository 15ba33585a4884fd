"""What a subscription that came and went is owed, by snapshots; each way to break it is found.

And what a queue that forgets has to answer for.
"""

import pytest

from tests.chaos import checker
from tests.chaos.checker import Arrival, Committed, DeadLetter, Verdict
from tests.chaos.queue import Received
from tests.chaos.reckoning import judge_transient, remembered
from tests.chaos.snapshot import Snapshot
from tests.chaos.transients import KAFKA, Transient
from tests.chaos.turnover import Owed

ONE = Transient("t1", KAFKA, ("a",), None)
# Made when 12 was in progress and 13 had committed, deleted when 16 was in progress.
SEEN, GONE = Snapshot.parse("12:14:12"), Snapshot.parse("16:18:16")


def message(id_: int, xid: int, channel: str = "a", *, oversize: bool = False) -> Committed:
    return Committed(id_, channel, "x", xid, 3, b"g", 100 + id_, oversize)


LOG = {
    "before": message(1, 11),
    "late": message(2, 12),
    "seen": message(3, 13),
    "fresh": message(4, 14),
    "else": message(5, 14, "b"),
    "last": message(6, 17),
    "after": message(7, 16),
}
THERE = Owed(SEEN, None, {}, frozenset())
DELETED = Owed(SEEN, GONE, {(3, None): Snapshot.parse("15:17:")}, frozenset())


def arrive(*keys: str) -> list[Arrival]:
    return [
        Arrival(LOG[key].channel, 0, offset, LOG[key].group_key, key, LOG[key].checksum)
        for offset, key in enumerate(keys)
    ]


def judge(owed: Owed, *keys: str, log: dict[str, Committed] = LOG) -> Verdict:
    return judge_transient(ONE, owed, log, arrive(*keys), [])


def test_what_commits_after_its_snapshot_is_owed_to_it_and_nothing_else() -> None:
    verdict = judge(THERE, "late", "fresh", "last", "after")
    assert (verdict.committed, verdict.broken) == (4, {})


@pytest.mark.parametrize("key", ["late", "fresh", "last", "after"])
def test_whatever_of_this_is_missing_is_lost(key: str) -> None:
    keys = [one for one in ("late", "fresh", "last", "after") if one != key]
    assert judge(THERE, *keys).broken == {checker.LOST: 1}


@pytest.mark.parametrize("key", ["before", "seen", "else"])
def test_what_is_older_or_not_wanted_is_not_its_own(key: str) -> None:
    assert judge(THERE, "late", "fresh", "last", "after", key).broken == {checker.FOREIGN: 1}


def test_a_deleted_one_is_owed_what_it_had_passed() -> None:
    verdict = judge(DELETED, "late", "fresh")
    assert (verdict.committed, verdict.broken) == (2, {})
    assert judge(DELETED, "late").broken == {checker.LOST: 1}


def test_a_deleted_one_may_have_had_what_was_pending_and_nothing_that_came_later() -> None:
    assert judge(DELETED, "late", "fresh", "last").broken == {}
    assert judge(DELETED, "late", "fresh", "after").broken == {checker.FOREIGN: 1}


def test_what_was_to_be_tried_again_was_lost_with_the_deleted_one_by_intent() -> None:
    owed = DELETED._replace(undelivered=frozenset([LOG["fresh"].id]))
    assert judge(owed, "late").broken == {}


def test_a_channel_cursor_of_a_deleted_one_tells_of_its_channel() -> None:
    behind = {**DELETED.positions, (3, "a"): Snapshot.parse("14:14:")}
    assert judge(DELETED._replace(positions=behind), "late").broken == {}
    assert judge(DELETED._replace(positions=behind)).broken == {checker.LOST: 1}


def test_of_a_deleted_one_nothing_tells_of_its_dead_letters() -> None:
    log = {**LOG, "big": message(8, 14, oversize=True)}
    assert judge(DELETED, "late", "fresh", log=log).broken == {}
    there = judge(THERE, "late", "fresh", "last", "after", log=log)
    assert there.broken == {checker.MISSING_DEAD_LETTER: 1}
    letter = [DeadLetter("big", "MSG_SIZE_TOO_LARGE")]
    arrivals = arrive("late", "fresh", "last", "after")
    assert judge_transient(ONE, THERE, log, arrivals, letter).broken == {}


def receive(*lives: tuple[int, str]) -> tuple[list[str | None], int]:
    """What a queue has to answer for of these, each with the life in which it was received."""
    received = [Received(life, b"g", key, len(key)) for life, key in lives]
    arrivals, again = remembered(received)
    return [arrival.idempotency_key for arrival in arrivals], again


def test_what_comes_again_after_a_kill_of_the_queue_is_no_repeat() -> None:
    assert receive((0, "a"), (0, "b"), (1, "b"), (1, "c"), (3, "b")) == (["a", "b", "c"], 2)


def test_what_comes_twice_between_two_kills_of_the_queue_is_one() -> None:
    assert receive((0, "a"), (0, "a")) == (["a", "a"], 0)
    assert receive((0, "a"), (1, "a"), (1, "a")) == (["a", "a"], 1)
