"""How long a subscription may make others wait, at once and in the long run."""

import time

import pytest

from relay.push import held_time
from relay.push.held_time import HELD_SHARE, MAX_HELD_SECONDS, MAX_RUN_SECONDS, HeldTime


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_moment_now_and_then_is_allowed(now: list[float]) -> None:
    held = HeldTime()
    for _ in range(20):
        assert not held.add(7, 0.02)
        now[0] += 0.02 / HELD_SHARE


def test_moments_one_after_the_other_are_too_much(now: list[float]) -> None:
    held = HeldTime()
    assert [held.add(7, 0.9 * MAX_RUN_SECONDS) for _ in range(4)] == [False] * 3 + [True]
    assert not held.add(8, MAX_RUN_SECONDS)
    now[0] += MAX_HELD_SECONDS / HELD_SHARE
    assert not held.add(7, MAX_RUN_SECONDS)


def test_one_run_alone_is_never_too_much(now: list[float]) -> None:
    """The whole machine may have stood still."""
    held = HeldTime()
    assert not held.add(7, 60.0)
    assert not held.add(7, 0.0)


def test_what_owes_is_not_forgotten_for_others(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_time, "MAX_KNOWN", 3)
    held = HeldTime()
    for _ in range(3):
        held.add(7, MAX_RUN_SECONDS)
    for other in range(100, 110):
        held.add(other, 0.001)
        now[0] += 0.001 / HELD_SHARE
    assert len(held._free_at) <= 4
    assert held.add(7, MAX_RUN_SECONDS)
