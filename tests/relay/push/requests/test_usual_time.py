"""What is usual is what most subscriptions' endpoints do."""

import pytest

from relay.push.requests import usual_time
from relay.push.requests.usual_time import FIRST_SECONDS, UsualTime


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual_time, "MEDIAN_SECONDS", 0.0)


def test_however_often_one_is_slow_it_counts_once() -> None:
    usual = UsualTime()
    assert usual.seconds == FIRST_SECONDS
    for one in range(3):
        usual.note(one, 0.002)
    for _ in range(1000):
        usual.note(7, 0.9)
        usual.note(8, 0.9)
    assert usual.seconds == 0.002


def test_where_most_become_slower_that_is_usual_soon() -> None:
    usual = UsualTime()
    for one in range(10):
        usual.note(one, 0.002)
    for _ in range(20):
        for one in range(6):
            usual.note(one, 0.1)
    assert usual.seconds > 0.08


def test_one_that_is_gone_counts_no_more() -> None:
    usual = UsualTime()
    usual.note(1, 0.002)
    usual.note(2, 0.4)
    usual.forget(1)
    usual.note(2, 0.4)
    assert usual.seconds == pytest.approx(0.4)
