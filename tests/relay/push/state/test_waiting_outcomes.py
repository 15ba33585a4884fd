"""Outcomes that wait to be written: owners by turns, and those of the one that has most are too
many.
"""

import threading

from relay.keyring import Keys
from relay.push.fair_turns import Owner
from relay.push.item import Item
from relay.push.policy.settings import Endpoint
from relay.push.state.late_outcomes import Late
from relay.push.state.waiting_outcomes import WaitingOutcomes
from relay.push.target import Target


def late(owner: Owner, message_id: int) -> Late:
    item = Item(message_id=message_id, row=None, group_key=None, payload_bytes=0, held_bytes=0)
    target = Target(1, "s", Endpoint(endpoint=""), Keys([]), 0.0, 1, owner=owner)
    return Late(target, 1, item)


def ids(outcomes: list[Late]) -> list[tuple[Owner, int]]:
    return [(one.target.owner, one.item.message_id) for one in outcomes]


def test_owners_have_their_turns_and_each_ones_come_in_their_order() -> None:
    waiting = WaitingOutcomes(100)
    for message_id in range(50):
        waiting.put(late("greedy", message_id))
    waiting.put(late("good", 1))
    waiting.put(late(None, 1))
    waiting.put(late("good", 2))
    taken, more = waiting.take(7, 0)
    assert (ids(taken), more) == (
        [
            ("greedy", 0), ("good", 1), (None, 1), ("greedy", 1), ("good", 2), ("greedy", 2),
            ("greedy", 3),
        ],
        True,
    )  # fmt: skip


def test_where_there_is_no_room_the_latest_of_the_owner_that_has_most_is_left_out() -> None:
    waiting = WaitingOutcomes(4)
    for message_id in range(4):
        assert waiting.put(late("greedy", message_id)) is None
    for owner, message_id, left_out in (
        ("good", 1, ("greedy", 3)),
        ("good", 2, ("greedy", 2)),
        ("good", 3, ("good", 3)),
        ("greedy", 4, ("greedy", 4)),
    ):
        forgotten = waiting.put(late(owner, message_id))
        assert forgotten is not None
        assert ids([forgotten]) == [left_out]
    assert len(waiting.take(10, 0)[0]) == 4


def test_who_takes_waits_until_one_comes_or_none_will() -> None:
    waiting = WaitingOutcomes(4)
    assert waiting.take(1, 0) == ([], True)
    came: list[tuple[list[tuple[Owner, int]], bool]] = []

    def take() -> None:
        for _ in range(2):
            taken, more = waiting.take(5, None)
            came.append((ids(taken), more))

    thread = threading.Thread(target=take)
    thread.start()
    waiting.put(late("a", 1))
    waiting.put(late("a", 2))
    waiting.close()
    thread.join(10)
    assert [one for some, _ in came for one in some] == [("a", 1), ("a", 2)]
    assert came[-1] == ([], False) or not came[-1][1]
