"""The one place where a session's fault, the database's or the broker's, is tried again."""

import threading
import time
from collections.abc import Callable

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

# Exponential with jitter, and never so long that the return of a broker or of a database goes
# unnoticed for more than a few seconds.
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 2.0


def until_stopped(
    session: Callable[[], None],
    stop: threading.Event,
    faults: type[Exception],
    failed: Callable[[BaseException], None],
) -> None:
    """Runs the session again and again until `stop` is set, which also ends a wait.

    After one of `faults`, told to `failed`, it waits, the longer the more of them came in a row. A
    session that lasted for a while was no such: another begins at once, as after one that returns.
    Other exceptions rise.
    """

    def lasting() -> None:
        began_at = time.monotonic()
        try:
            session()
        except faults as fault:
            if time.monotonic() < began_at + MAX_WAIT_SECONDS:
                raise
            failed(fault)

    def tell(attempt: RetryCallState) -> None:
        fault = attempt.outcome.exception() if attempt.outcome else None
        assert fault is not None
        failed(fault)

    while not stop.is_set():
        tries = Retrying(
            retry=retry_if_exception_type(faults),
            wait=wait_exponential_jitter(
                multiplier=FIRST_WAIT_SECONDS, max=MAX_WAIT_SECONDS, jitter=FIRST_WAIT_SECONDS
            ),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            before_sleep=tell,
        )
        try:
            tries(lasting)
        except RetryError:
            return
