"""A session that fails begins anew: at once where it had lasted, else after a wait that grows."""

import threading
from types import SimpleNamespace

import pytest

from relay.daemon import retry
from relay.daemon.retry import until_stopped


class Away(Exception):
    """What the sessions fail with."""


def waits(monkeypatch: pytest.MonkeyPatch, lasted_seconds: list[float]) -> list[float]:
    """For how long it waits after sessions that lasted so long each; the last one stops it."""
    stop = threading.Event()
    clock = 0.0
    asked: list[float] = []
    left = iter(lasted_seconds)
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(retry, "sleep_using_event", lambda _: asked.append)
    told: list[BaseException] = []

    def session() -> None:
        nonlocal clock
        seconds = next(left, None)
        if seconds is None:
            stop.set()
            return
        clock += seconds
        raise Away

    until_stopped(session, stop, Away, told.append)
    assert len(told) == len(lasted_seconds)
    return asked


def test_it_waits_longer_after_each_that_failed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = waits(monkeypatch, [0.0] * 6)
    assert len(asked) == 6
    assert asked[-1] > 4 * asked[0]
    assert max(asked) <= retry.MAX_WAIT_SECONDS + retry.FIRST_WAIT_SECONDS


def test_one_that_lasted_begins_anew_at_once_and_counts_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = waits(monkeypatch, [0.0] * 6 + [60.0, 0.0])
    assert len(asked) == 7
    assert asked[-1] <= 2 * retry.FIRST_WAIT_SECONDS
