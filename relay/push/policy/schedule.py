"""When a failed request is made again. Pure: time and randomness are arguments."""

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

# After attempts 1 to 8: nine attempts within 21 hours.
DEFAULT_SCHEDULE_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
DEFAULT_INITIAL_DELAY_SECONDS = 5.0
DEFAULT_MULTIPLIER = 2.0
DEFAULT_MAX_DELAY_SECONDS = 36_000.0
DEFAULT_MAX_ATTEMPTS = len(DEFAULT_SCHEDULE_SECONDS) + 1
DEFAULT_JITTER = 0.1

MAX_RETRY_AFTER_SECONDS = 86_400.0


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subscription's `settings.retry`; the database holds the fields' bounds.

    With `schedule_seconds`, that is the schedule, and there is one attempt more than it has delays.
    With `initial_delay_seconds` or `multiplier` the delays grow by a factor. Else they are the
    default's, whose last one repeats. `max_delay_seconds` and `max_attempts` bound the latter two.
    """

    initial_delay_seconds: float | None = None
    multiplier: float | None = None
    max_delay_seconds: float | None = None
    max_attempts: int | None = None
    schedule_seconds: tuple[float, ...] | None = None
    jitter: float | None = None


def most_attempts(retry: Retry) -> int:
    """How many attempts a message gets, the first among them."""
    if retry.schedule_seconds is not None:
        return len(retry.schedule_seconds) + 1
    return retry.max_attempts or DEFAULT_MAX_ATTEMPTS


def delay_seconds(retry: Retry, attempts: int, random: Callable[[], float]) -> float | None:
    """The wait after so many attempts, or None where they are exhausted.

    `random` gives a number from 0 to below 1; jitter only ever lengthens a wait.
    """
    if attempts >= most_attempts(retry):
        return None
    jitter = DEFAULT_JITTER if retry.jitter is None else retry.jitter
    return _delay(retry, attempts - 1) * (1 + jitter * random())


def _delay(retry: Retry, index: int) -> float:
    if retry.schedule_seconds is not None:
        return retry.schedule_seconds[index]
    longest = _given(retry.max_delay_seconds, DEFAULT_MAX_DELAY_SECONDS)
    if retry.initial_delay_seconds is None and retry.multiplier is None:
        return min(DEFAULT_SCHEDULE_SECONDS[min(index, DEFAULT_MAX_ATTEMPTS - 2)], longest)
    first = _given(retry.initial_delay_seconds, DEFAULT_INITIAL_DELAY_SECONDS)
    return min(first * _given(retry.multiplier, DEFAULT_MULTIPLIER) ** index, longest)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def retry_after_seconds(value: str | None, date: str | None, now: float) -> float | None:
    """What a Retry-After header asks for, 0 to 86,400 seconds; None where it says nothing.

    A moment counts from the answer's own `date`, so that the receiver's clock may be wrong, else
    from `now`, unix seconds. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if value is None:
        return None
    # Blanks and tabs are what a header may have around its value; Python would strip more.
    digits = value.strip(" \t")
    if re.fullmatch(r"[0-9]+", digits):
        seconds = float(digits)
    else:
        until = _moment(value)
        if until is None:
            return None
        begin = None if date is None else _moment(date)
        seconds = until - (now if begin is None else begin)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _moment(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # The two old forms of a date name no zone, or one that Python leaves out: it is always UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
