"""Whose turn it is where more cursors have work than a run takes."""

from collections import Counter

import pytest

from relay.daemon.waiting_cursors import WaitingCursors
from relay.log.cursor import Cursor, SinkSettings

MOST = 128
RUNS = 100


def cursors(subscription_id: int, shards: int, priorities: range) -> list[Cursor]:
    return [
        Cursor(
            id=1000 * subscription_id + 10 * shard + priority,
            subscription_id=subscription_id,
            subscription=f"subscription {subscription_id}",
            kind="http",
            shard=shard,
            priority=priority,
            channel=None,
            n=0,
            relay="",
            waiting_reason=None,
            waiting_seconds=None,
            sink_settings=SinkSettings(),
        )
        for shard in range(shards)
        for priority in priorities
    ]


def longest_waits(waiting: WaitingCursors, watched: list[Cursor]) -> Counter[int]:
    """In how many runs in a row each had no place, where all that ran have work again at once."""
    longest: Counter[int] = Counter()
    since: Counter[int] = Counter()
    for _ in range(RUNS):
        taken = waiting.take(MOST, relays=1)
        assert len(taken) == MOST
        taken_ids = {cursor.id for cursor in taken}
        for cursor in watched:
            since[cursor.id] = 0 if cursor.id in taken_ids else since[cursor.id] + 1
            longest[cursor.id] = max(longest[cursor.id], since[cursor.id])
        waiting.add(taken)
    return longest


@pytest.mark.parametrize("priorities", [range(1, 2), range(1, 4), range(1, 6)])
@pytest.mark.parametrize("shards", [26, 64, 100])
def test_a_subscription_with_hundreds_of_cursors_keeps_no_other_out(
    shards: int, priorities: range
) -> None:
    """Whatever their priorities: each of the others has a place in every run."""
    waiting = WaitingCursors()
    others = [cursors(3 + n, 1, range(n, n + 1))[0] for n in range(1, 6)]
    many = [*cursors(1, shards, priorities), *cursors(2, shards + 80, priorities)]
    waiting.add([*many, *others])
    longest = longest_waits(waiting, others)
    assert all(longest[cursor.id] == 0 for cursor in others)


def test_every_cursor_of_a_subscription_has_its_turn() -> None:
    """The less urgent too: every second run is of those that have waited longest."""
    waiting = WaitingCursors()
    all_of_it = cursors(1, 64, range(1, 6))
    waiting.add(all_of_it)
    assert max(longest_waits(waiting, all_of_it).values()) <= 12


def test_more_subscriptions_than_a_run_takes_have_turns() -> None:
    waiting = WaitingCursors()
    all_of_them = [cursors(n, 1, range(1 + n % 5, 2 + n % 5))[0] for n in range(1, 301)]
    waiting.add(all_of_them)
    assert max(longest_waits(waiting, all_of_them).values()) <= 12
