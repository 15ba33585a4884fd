"""What all endpoints share: however much one owner or one subscription wants, others get theirs."""

from collections.abc import Callable

import pytest

from relay.push.requests.capacity import Room, Share

KB = 1_000


Called = list[Callable[[], None]]


def room(requests: int = 10_000, bytes: int = 128_000 * KB) -> tuple[Room, Called]:
    """And what it has called."""
    called: Called = []
    return Room(requests, bytes, called.append), called


def fill(*shares: Share, size: int = 0) -> int:
    """One after the other takes all that it can; how many requests."""
    requests = 0
    for share in shares:
        while share.has_room(size):
            share.take(size)
            requests += 1
    return requests


def test_one_subscription_has_a_third_at_most() -> None:
    everything, _ = room(requests=900)
    assert fill(everything.share(None)) == 300


def test_one_owner_has_half_at_most_however_many_its_subscriptions() -> None:
    everything, _ = room(requests=1000)
    greedy = [everything.share("a") for _ in range(100)]
    # Those that have none take one each beyond it.
    assert 500 <= fill(*greedy) <= 600
    assert fill(everything.share("b")) >= 100


@pytest.mark.parametrize("owner", ["a", "b", None])
def test_who_has_none_gets_one_while_there_is_one(owner: str | None) -> None:
    everything, _ = room(requests=200)
    greedy = [everything.share("a") for _ in range(200)]
    fill(*greedy[:100])
    share = everything.share(owner)
    assert share.has_room(0)
    fill(*greedy[100:])
    assert everything.use.requests == 200
    assert not share.has_room(0)


def test_where_the_loop_is_behind_those_that_have_more_than_their_even_share_are_large() -> None:
    everything, _ = room()
    greedy = [everything.share(owner) for owner in "abc"]
    small = everything.share(None)
    for share in greedy:
        for _ in range(100):
            share.take(0)
    small.take(0)
    assert [share.owner_is_large for share in greedy] == [True] * 3
    assert not small.owner_is_large
    for share in greedy:
        for _ in range(100):
            share.give_back(0)
    assert small.owner_is_large


def test_owners_that_hold_much_leave_payload_bytes_to_the_next() -> None:
    everything, _ = room()
    greedy = [everything.share(owner) for owner in "abcde" for _ in range(50)]
    fill(*greedy, size=950 * KB)
    assert fill(everything.share("next"), size=950 * KB) >= 1
    assert everything.use.bytes <= 128_000 * KB


def test_a_small_message_goes_where_a_large_one_has_no_room() -> None:
    """Of the owner whose large ones hang, too."""
    everything, _ = room()
    greedy = [everything.share("a") for _ in range(200)]
    fill(*greedy, size=950 * KB)
    share = everything.share("a")
    assert not share.has_room(950 * KB)
    assert fill(share, size=1 * KB) >= 1


def test_what_is_given_back_is_there_again() -> None:
    everything, _ = room()
    share = everything.share("a")
    taken = fill(share, size=950 * KB)
    for _ in range(taken):
        share.give_back(950 * KB)
    assert (everything.use.requests, everything.use.bytes) == (0, 0)
    assert fill(everything.share("a"), size=950 * KB) == taken


def test_who_waits_is_called_once_when_a_request_ends() -> None:
    everything, called = room()
    share = everything.share("a")
    for _ in range(2):
        share.take(0)

    def look() -> None:
        raise AssertionError

    everything.wait(look)
    everything.wait(look)
    assert called == []
    share.give_back(0)
    share.give_back(0)
    assert called == [look]
