"""A session that fails begins anew: at once where it had lasted, else after a wait that grows."""

import threading
from types import SimpleNamespace

import pytest

from relay.daemon import retry
from relay.daemon.retry import FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS, until_stopped


class Away(Exception):
    """What the sessions fail with."""


def waits(
    monkeypatch: pytest.MonkeyPatch,
    lasted_seconds: list[float],
    longest_seconds: float = MAX_WAIT_SECONDS,
    changed_at: int | None = None,
) -> list[float]:
    """For how long it waits after sessions that lasted so long each; the last one stops it.

    `changed_at`: the wait of this number is over at once.
    """
    stop = threading.Event()
    clock = 0.0
    asked: list[float] = []
    left = iter(lasted_seconds)
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: clock))
    told: list[BaseException] = []

    def session() -> None:
        nonlocal clock
        seconds = next(left, None)
        if seconds is None:
            stop.set()
            return
        clock += seconds
        raise Away

    def wait(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == changed_at

    until_stopped(session, stop, Away, told.append, longest=lambda _: longest_seconds, wait=wait)
    assert len(told) == len(lasted_seconds)
    return asked


def test_it_waits_longer_after_each_that_failed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = waits(monkeypatch, [0.0] * 6)
    assert len(asked) == 6
    assert asked[-1] > 4 * asked[0]
    assert max(asked) <= MAX_WAIT_SECONDS


def test_one_that_lasted_begins_anew_at_once_and_counts_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = waits(monkeypatch, [0.0] * 6 + [60.0, 0.0])
    assert len(asked) == 7
    assert asked[-1] <= FIRST_WAIT_SECONDS


def test_a_fault_that_may_last_is_waited_out_for_longer_and_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often it came; and each try of it may take its time."""
    asked = waits(monkeypatch, [5.0] * 2000, 60.0)
    assert len(asked) == 2000
    assert all(30.0 <= seconds <= 60.0 for seconds in asked[12:])
    assert len({round(seconds) for seconds in asked[12:]}) > 10


def test_what_changes_meanwhile_ends_the_wait_and_counts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = waits(monkeypatch, [0.0] * 20, 60.0, changed_at=15)
    assert asked[14] >= 30.0
    assert asked[15] <= FIRST_WAIT_SECONDS


def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 600.0)
    stop, failed = threading.Event(), threading.Event()

    def session() -> None:
        raise Away

    waiting = threading.Thread(
        target=until_stopped,
        args=(session, stop, Away, lambda _: failed.set()),
        kwargs={"longest": lambda _: 600.0},
    )
    waiting.start()
    assert failed.wait(10)
    stop.set()
    waiting.join(10)
    assert not waiting.is_alive()
