"""Threads that stood still with the one who looks after them are not blamed."""

import time

import pytest

from relay.process.heartbeat import MAX_LOOK_SECONDS, Watch

LOOK_SECONDS = MAX_LOOK_SECONDS / 2


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def look(watch: Watch, clock: Clock, after_seconds: float) -> None:
    clock.now += after_seconds
    watch.look()


def test_what_stands_still_while_the_watch_runs_counts(clock: Clock) -> None:
    watch = Watch()
    for _ in range(10):
        look(watch, clock, LOOK_SECONDS)
    assert watch.still_seconds(8 * LOOK_SECONDS) == 8 * LOOK_SECONDS


def test_a_process_that_was_stopped_counts_from_its_return(clock: Clock) -> None:
    watch = Watch()
    look(watch, clock, LOOK_SECONDS)
    look(watch, clock, 3600.0)
    assert watch.still_seconds(3600.0) == 0.0
    look(watch, clock, LOOK_SECONDS)
    assert watch.still_seconds(3600.0 + LOOK_SECONDS) == LOOK_SECONDS
