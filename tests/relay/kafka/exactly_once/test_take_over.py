"""How long a relay leaves an exactly-once cursor to another goes by what taking it over costs."""

from typing import Any, cast

import pytest

from relay.kafka.exactly_once import take_over
from relay.kafka.exactly_once.ownership import ExactlyOnce
from relay.log.claim import Claimed, Origin
from relay.log.cursor import Cursor, SinkSettings
from relay.log.position import Position
from relay.monitoring.telemetry import Telemetry
from tests.relay.operating import settings

MINE = Cursor(1, 1, "exact", "kafka", 0, 3, None, 7, "", None, None, SinkSettings("exactly_once"))
ANOTHERS = Cursor(
    2, 1, "exact", "kafka", 0, 3, None, 7, "b", None, None, SinkSettings("exactly_once")
)
CLAIMED = Claimed(
    cursor=MINE,
    n=7,
    token=7,
    relay="",
    position=Position("3:3:"),
    channels=None,
    types=None,
    shards=1,
    due=False,
    replaying=False,
    divided=False,
    merging=False,
    noted=False,
    origin=Origin("i", "1", "0/0"),
    besides=(0, True),
)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class SlowBroker:
    """Transactions of which each fence takes so long."""

    def __init__(self, clock: Clock, fence_seconds: float) -> None:
        self._clock = clock
        self._fence_seconds = fence_seconds

    def take(self, name: str, token: int) -> bool:
        return False

    def fence(self, name: str) -> str | None:
        self._clock.now += self._fence_seconds
        return None

    def own(self, token: int) -> None: ...


@pytest.mark.parametrize(
    ("fence_seconds", "patience"), [(0.1, 1.0), (0.5, 2.0), (1.0, 4.0), (9.0, 5.0)]
)
def test_the_slower_fencing_is_the_longer_another_is_left_alone(
    fence_seconds: float, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(take_over, "time", clock)
    broker = cast(Any, SlowBroker(clock, fence_seconds))
    relay = ExactlyOnce(cast(Any, None), broker, settings("postgresql://h/d"), Telemetry())
    relay.adopt(CLAIMED)
    assert relay.take_over.defer_to_other(ANOTHERS)
    clock.now += patience - 0.01
    assert relay.take_over.defer_to_other(ANOTHERS)
    clock.now += 0.02
    assert not relay.take_over.defer_to_other(ANOTHERS)


def test_a_relay_that_has_taken_a_cursor_over_waits_no_longer_for_its_former_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(take_over, "time", clock)
    broker = cast(Any, SlowBroker(clock, fence_seconds=0.9))
    relay = ExactlyOnce(cast(Any, None), broker, settings("postgresql://h/d"), Telemetry())
    assert relay.take_over.defer_to_other(ANOTHERS)
    clock.now += take_over.TAKE_OVER_SECONDS + 0.01
    assert not relay.take_over.defer_to_other(ANOTHERS)
    relay.adopt(CLAIMED)
    # Its first run may only look topics up, and leaves the checkpoint as it is.
    assert not relay.take_over.defer_to_other(ANOTHERS)
