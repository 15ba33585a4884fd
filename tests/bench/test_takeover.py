"""What `make bench-takeover` goes by."""

from bench.takeover import seconds_until_arrival

SECOND = 1_000_000_000


def test_only_what_was_published_after_a_kill_shows_a_takeover() -> None:
    published = {0: 1 * SECOND, 1: 3 * SECOND, 2: 4 * SECOND}
    arrived = {0: 2 * SECOND + 1, 1: 9 * SECOND, 2: 5 * SECOND}
    assert seconds_until_arrival([2 * SECOND], published, arrived) == [3.0]


def test_each_kill_has_its_own_time() -> None:
    published = {0: 1 * SECOND, 1: 11 * SECOND}
    arrived = {0: 2 * SECOND, 1: 14 * SECOND}
    assert seconds_until_arrival([0, 10 * SECOND], published, arrived) == [2.0, 4.0]
