"""What an answer means for its message: pure, with time and chance as arguments."""

from collections.abc import Callable
from typing import Literal

import msgspec

from relay.push.http.answer import Answer
from relay.push.policy.schedule import delay_seconds, retry_after_seconds
from relay.push.policy.settings import Receiver

GONE = 410
# Clients whose fault it may not be: a time-out, a request that came too early, or too many.
NOT_FINAL = frozenset({408, 425, 429})
# Nothing was sent, and the endpoint had no part in it: the relay had stood still, and another may
# be at it by now; or it could not open a connection.
UNSENT = frozenset({"lease_over", "no_connection"})
# What a queue or topic is, and not the message: it is not there, its rights are lacking, its key is
# gone.
AWAY = frozenset(
    f"{what}_{why}" for what in ("queue", "topic") for why in ("absent", "denied", "refused")
)
# It is as if the message had not been tried.
HELD = UNSENT | AWAY


class Verdict(msgspec.Struct, frozen=True):
    """`attempts` are those used up by now; `retry` comes after `delay_seconds`.

    `dead`: given up, with the limit that was `exhausted`, or refused for what it is. `held`: as if
    it had not been tried. `missing`: neither the log nor a dead letter has the message any more.
    For `asked_seconds` the endpoint asked to be left alone.
    """

    kind: Literal["acked", "retry", "dead", "held", "missing"]
    attempts: int
    delay_seconds: float | None = None
    exhausted: str | None = None
    asked_seconds: float = 0.0


class Failures(msgspec.Struct, frozen=True):
    """How many attempts `failed`, and how many besides were `refused`: see `is_refusal`."""

    failed: int = 0
    refused: int = 0


def is_refusal(answer: Answer) -> bool:
    """Whether the endpoint is alive and says no: to this message, unless it says so to all."""
    status = answer.status or 0
    return 400 <= status < 500 and status != GONE and status not in NOT_FINAL


def judge(
    endpoint: Receiver,
    attempts: int,
    answer: Answer,
    *,
    probing: bool,
    now: float,
    random: Callable[[], float],
) -> Verdict:
    """Of the answer to a message that had `attempts` before; `now` in seconds since 1970.

    `probing`: it is the one message of a half-open breaker.
    """
    if answer.error is None:
        return Verdict("acked", attempts + 1)
    if answer.status == GONE or answer.error in HELD:
        return Verdict("held", attempts)
    if probing and answer.status is None:
        # No answer came: that says nothing of the message, and an outage uses no attempts up. It
        # goes behind the other heads, so that the next probe is another's. A probe that was
        # answered is an attempt like any other: a message that is always refused comes to its end
        # though it is alone, and by its schedule it is tried no sooner than by a closed breaker.
        # Meanwhile other heads that are due are probed, or what is next in the log.
        return Verdict("retry", attempts, 0.0)
    asked = retry_after_seconds(answer.retry_after, answer.date, now) or 0.0
    if is_refusal(answer) and endpoint.gives_up_refused:
        return Verdict("dead", attempts + 1, asked_seconds=asked)
    return by_schedule(endpoint, attempts, random, asked_seconds=asked)


def by_schedule(
    endpoint: Receiver,
    attempts: int,
    random: Callable[[], float],
    *,
    asked_seconds: float = 0.0,
) -> Verdict:
    """Of an attempt that failed, whatever came of it."""
    attempts += 1
    delay = delay_seconds(endpoint.retry, attempts, random)
    if delay is None:
        limit = f"{attempts} attempts"
        return Verdict("dead", attempts, exhausted=limit, asked_seconds=asked_seconds)
    return Verdict("retry", attempts, max(delay, asked_seconds), asked_seconds=asked_seconds)
