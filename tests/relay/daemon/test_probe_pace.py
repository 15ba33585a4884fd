"""The next probe is due soon, however slow the last ones were."""

from relay.daemon.probe_pace import MAX_SECONDS, NEWS_SECONDS, QUIET_SECONDS, ProbePace

QUICK, SLOW = 0.001, 30.0


def test_a_probe_that_took_long_delays_the_next_one_by_half_a_second_at_most() -> None:
    pace = ProbePace()
    for _ in range(20):
        pace.note(SLOW)
    assert pace.interval_seconds(has_news=True) == MAX_SECONDS == 0.5
    assert pace.interval_seconds(has_news=False) == MAX_SECONDS


def test_one_quick_probe_takes_back_what_a_slow_one_said() -> None:
    pace = ProbePace()
    pace.note(SLOW)
    pace.note(QUICK)
    assert pace.interval_seconds(has_news=True) == NEWS_SECONDS
    assert pace.interval_seconds(has_news=False) == QUIET_SECONDS


def test_a_probe_that_costs_more_comes_less_often_to_a_quiet_log() -> None:
    pace = ProbePace()
    for _ in range(20):
        pace.note(2 * QUICK)
    assert pace.interval_seconds(has_news=False) == 0.4
    assert pace.interval_seconds(has_news=True) == NEWS_SECONDS
