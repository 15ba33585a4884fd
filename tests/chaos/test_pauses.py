"""How a pause is measured and to which fault it belongs."""

import pytest

from tests.chaos.pauses import Injected, alone, longest_pause
from tests.chaos.write_pause import Interval

BEATS = [0.0, 1.0, 1.1, 4.0, 4.1, 9.0]


def fault(began: float, ended: float) -> Injected:
    return Injected("freeze-relay", "relay-a", began, ended)


@pytest.mark.parametrize(
    ("began", "ended", "seconds"),
    [
        pytest.param(0.5, 0.5, 2.9, id="a beat that was under way does not end the aftermath"),
        pytest.param(2.0, 3.0, 2.0, id="what came before the fault does not count"),
        pytest.param(4.05, 4.06, 4.9, id="until the beat that ended it"),
        pytest.param(9.5, 9.5, 10.5, id="no beat any more"),
    ],
)
def test_the_longest_pause_is_found(began: float, ended: float, seconds: float) -> None:
    assert longest_pause(BEATS, fault(began, ended), [], until=20.0) == pytest.approx(seconds)


def test_a_time_without_writers_is_no_pause() -> None:
    write_pauses = [Interval(1.0, 3.0), Interval(4.05, 7.5), Interval(30.0, 40.0)]
    assert longest_pause(BEATS, fault(0.9, 3.0), write_pauses, until=20.0) == pytest.approx(1.0)
    assert longest_pause(BEATS, fault(4.05, 7.5), write_pauses, until=20.0) == pytest.approx(1.5)


def test_the_time_after_a_fault_and_its_aftermath_is_not_its_own() -> None:
    arrivals = [0.5, 1.0, 1.5, 2.0, 2.5, 9.0]
    assert longest_pause(arrivals, fault(0.4, 0.4), [], until=9) == pytest.approx(0.5)


def test_a_fault_is_alone_where_no_other_was_on_from_before_it_to_the_end_of_its_pause() -> None:
    first, second = fault(10, 11), fault(14, 15)
    assert alone(first, [first, second], seconds=3.9)
    assert not alone(first, [first, second], seconds=4.1)
    assert alone(second, [first, second], seconds=0.5)
    assert not alone(second, [fault(12, 13), second], seconds=0.5)
