"""How long a subscription may make others wait, at once and in the long run."""

import time

import pytest

from relay.push.held_time import HELD_SHARE, MAX_HELD_SECONDS, HeldTime


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_moment_now_and_then_is_allowed(now: list[float]) -> None:
    held = HeldTime()
    for _ in range(20):
        assert not held.add(7, None, 0.02)
        now[0] += 0.02 / HELD_SHARE


def test_moments_one_after_the_other_are_too_much(now: list[float]) -> None:
    held = HeldTime()
    assert [held.add(7, None, MAX_HELD_SECONDS / 3) for _ in range(4)] == [False] * 3 + [True]
    assert not held.add(8, None, MAX_HELD_SECONDS / 3)
    now[0] += MAX_HELD_SECONDS / HELD_SHARE
    assert not held.add(7, None, MAX_HELD_SECONDS / 3)


def test_another_subscription_of_the_same_owner_begins_with_what_its_owner_owes(
    now: list[float],
) -> None:
    held = HeldTime()
    assert held.add(7, "key", 2 * MAX_HELD_SECONDS)
    assert held.add(8, "key", 0.001)
    assert not held.add(9, "another key", 0.001)
    assert not held.add(10, None, 0.001)


def test_one_that_was_seen_before_owes_for_itself_alone(now: list[float]) -> None:
    held = HeldTime()
    assert not held.add(8, "key", 0.001)
    assert held.add(7, "key", 2 * MAX_HELD_SECONDS)
    assert not held.add(8, "key", 0.001)


def test_no_wait_is_no_debt(now: list[float]) -> None:
    held = HeldTime()
    assert held.add(7, "key", 2 * MAX_HELD_SECONDS)
    assert not held.add(8, "key", 0.0)
