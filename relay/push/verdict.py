"""What an answer means for its message: pure, with time and chance as arguments."""

from collections.abc import Callable
from typing import Literal

import msgspec

from relay.push.answer import Answer
from relay.push.endpoint import Endpoint
from relay.push.schedule import delay_seconds, retry_after_seconds

GONE = 410
# Clients whose fault it may not be: a time-out, a request that came too early, or too many.
NOT_FINAL = frozenset({408, 425, 429})
# Nothing was sent, and the endpoint had no part in it: the relay had stood still, and another may
# be at it by now; or it could not open a connection.
UNSENT = frozenset({"lease_over", "no_connection"})


class Verdict(msgspec.Struct, frozen=True):
    """`attempts` are those used up by now; `retry` comes after `delay_seconds`.

    `dead`: given up, with the limit that was `exhausted`, or refused for what it is. `held`: as if
    it had not been tried.
    """

    kind: Literal["acked", "retry", "dead", "held"]
    attempts: int
    delay_seconds: float | None = None
    exhausted: str | None = None


def judge(
    endpoint: Endpoint,
    attempts: int,
    answer: Answer,
    *,
    probing: bool,
    now: float,
    random: Callable[[], float],
) -> Verdict:
    """Of the answer to a message that had `attempts` before; `now` in seconds since 1970.

    `probing`: the breaker is half-open, and no attempt is used while it is not closed.
    """
    if answer.error is None:
        return Verdict("acked", attempts + 1)
    if answer.status == GONE or answer.error in UNSENT:
        return Verdict("held", attempts)
    wish = retry_after_seconds(answer.retry_after, answer.date, now) or 0.0
    if probing:
        # Behind the other heads: where this one is poisoned, the next probe is another's.
        return Verdict("retry", attempts, wish)
    attempts += 1
    status = answer.status or 0
    final = 400 <= status < 500 and status not in NOT_FINAL
    if final and endpoint.client_errors == "dead_letter":
        return Verdict("dead", attempts)
    delay = delay_seconds(endpoint.retry, attempts, random)
    if delay is None:
        return Verdict("dead", attempts, exhausted=f"{attempts} attempts")
    return Verdict("retry", attempts, max(delay, wish))
