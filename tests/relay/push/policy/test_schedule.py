"""When a failed request is made again, to the second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.push.policy.schedule import Retry, delay_seconds, most_attempts, retry_after_seconds

# Sun, 22 Nov 2026 16:00:00 GMT
NOW = 1_795_363_200.0


def delays(retry: Retry, luck: float = 0.0) -> list[float]:
    """All waits of one message, until it is given up."""
    waits = [delay_seconds(retry, attempts, lambda: luck) for attempts in range(1, 200)]
    assert waits[most_attempts(retry) - 1 :] == [None] * (200 - most_attempts(retry))
    return [wait for wait in waits if wait is not None]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(), [5, 30, 120, 600, 1800, 7200, 18_000, 36_000]),
        (Retry(max_attempts=3), [5, 30]),
        (Retry(max_attempts=1), []),
        (Retry(max_attempts=11)
         , [5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 36_000, 36_000]),
        (Retry(max_delay_seconds=60), [5, 30, 60, 60, 60, 60, 60, 60]),
        (Retry(schedule_seconds=(0, 7.5)), [0, 7.5]),
        (Retry(schedule_seconds=()), []),
        (Retry(initial_delay_seconds=1, multiplier=3, max_delay_seconds=20, max_attempts=6),
         [1, 3, 9, 20, 20]),
        (Retry(initial_delay_seconds=0, max_attempts=3), [0, 0]),
        (Retry(multiplier=100, max_attempts=100), [5, 500] + [36_000] * 97),
    ],
)  # fmt: skip
def test_waits_are_those_of_the_schedule(retry: Retry, expected: list[float]) -> None:
    assert delays(retry) == expected


def test_jitter_lengthens_a_wait_by_its_share_and_never_shortens_it() -> None:
    assert delays(Retry(schedule_seconds=(100,)), luck=0.5) == [105]
    assert delays(Retry(schedule_seconds=(100,), jitter=1), luck=0.5) == [150]
    assert delays(Retry(schedule_seconds=(100,), jitter=0), luck=0.5) == [100]


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        ("120", None, 120),
        (" 0 ", None, 0),
        ("86401", None, 86_400),
        ("9" * 5000, None, 86_400),
        ("Sun, 22 Nov 2026 16:02:00 GMT", None, 120),
        ("Sunday, 22-Nov-26 16:02:00 GMT", None, 120),
        ("Sun Nov 22 16:02:00 2026", None, 120),
        # The endpoint's clock is an hour slow: it still means two minutes.
        ("Sun, 22 Nov 2026 15:02:00 GMT", "Sun, 22 Nov 2026 15:00:00 GMT", 120),
        ("Sun, 22 Nov 2026 16:02:00 GMT", "no date", 120),
        ("Sun, 22 Nov 2026 15:59:00 GMT", None, 0),
        ("Sun, 22 Nov 2099 16:00:00 GMT", None, 86_400),
        ("-5", None, None),
        ("1.5", None, None),
        ("²", None, None),
        ("soon", None, None),
        ("", None, None),
        ("Sun, 99 Nov 2026 16:02:00 GMT", None, None),
        (" 5\t", None, 5.0),
        # What Python takes for blanks besides is none around a header's value.
        ("5\x1f", None, None),
        ("\x1c5", None, None),
        ("5\xa0", None, None),
    ],
)
def test_retry_after_is_obeyed_in_both_forms_and_capped_at_a_day(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert retry_after_seconds(value, date, NOW) == seconds


ANY = st.text() | st.text("0123456789 \t\x1c\x1d\x1e\x1f\x85\xa0+-:,GMTSunNov")


@given(ANY, ANY)
def test_a_retry_after_of_any_text_is_a_wait_within_a_day_or_none(value: str, date: str) -> None:
    seconds = retry_after_seconds(value, date, NOW)
    assert seconds is None or 0 <= seconds <= 86_400
