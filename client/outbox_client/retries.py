"""Which request is sent again, when, and for how long.

The API's 503 says that nothing is wrong with the request; but it may be the answer to a COMMIT that
was not heard, so it may have been done. The same holds for every answer that is lost.
"""

from collections.abc import Callable
from typing import TypedDict

from tenacity import RetryCallState, retry_if_exception, stop_before_delay, wait_random_exponential
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from outbox_client.problems import OutboxError, Problem, Unanswered

# The service's own, and a gateway's where the service is away, or its answer was lost.
PASSING = frozenset({502, 503, 504})
BACK_OFF = wait_random_exponential(multiplier=0.1, max=5)


class Policy(TypedDict):
    """What tenacity's two kinds of Retrying take."""

    stop: stop_base
    wait: wait_base
    retry: retry_base
    after: Callable[[RetryCallState], None]
    reraise: bool


class _Wait(wait_base):
    """Longer each time, somewhere below a bound that doubles; as long as the answer asks at least.

    What is random keeps many clients of a service that comes back from asking it all at once.
    """

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = retry_state.outcome
        error = None if outcome is None else outcome.exception()
        asked = error.retry_after_seconds if isinstance(error, Problem) else None
        return (asked or 0.0) + BACK_OFF(retry_state)


class Earlier:
    """The attempts of one request that went before: whether one may have done what it asks for."""

    def __init__(self) -> None:
        self.may_be_done = False

    def note(self, attempt: RetryCallState) -> None:
        """One more, which failed."""
        error = None if attempt.outcome is None else attempt.outcome.exception()
        match error:
            case Unanswered(sent=True):
                self.may_be_done = True
            case Problem(status=status) if status in PASSING:
                self.may_be_done = True


def policy(earlier: Earlier, *, repeatable: bool, retry_seconds: float) -> Policy:
    """For one request, whose failed attempts `earlier` notes.

    No attempt begins later than `retry_seconds` after the first.
    """

    def passes(error: BaseException) -> bool:
        return isinstance(error, OutboxError) and may_pass(error, repeatable=repeatable)

    return Policy(
        stop=stop_before_delay(retry_seconds),
        wait=_Wait(),
        retry=retry_if_exception(passes),
        after=earlier.note,
        reraise=True,
    )


def may_pass(error: OutboxError, *, repeatable: bool) -> bool:
    """Whether to send again what ended so: it may go well then, and has no second effect."""
    match error:
        case Unanswered(sent=False) | Problem(status=429):
            return True
        case Unanswered():
            return repeatable
        case Problem(status=status):
            return repeatable and status in PASSING
        case _:
            return False
