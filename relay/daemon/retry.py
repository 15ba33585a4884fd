"""The one place where a session's fault, the database's or the broker's, is tried again."""

import random
import threading
import time
from collections.abc import Callable

# Doubled after each fault in a row, and never so long that the return of a broker or of a database
# goes unnoticed for more than a few seconds.
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 2.0


def until_stopped(
    session: Callable[[], None],
    stop: threading.Event,
    faults: type[Exception],
    failed: Callable[[BaseException], None],
    *,
    longest: Callable[[BaseException], float] = lambda _: MAX_WAIT_SECONDS,
    wait: Callable[[float], bool] | None = None,
) -> None:
    """Runs the session again and again until `stop` is set, which also ends a wait.

    After one of `faults`, told to `failed`, it waits, the longer the more of them came in a row,
    and for `longest` seconds of such a fault at most. `wait` is told for how long, and returns true
    at once where the next session is another matter. A session that lasted for longer than its wait
    could be was no such: another begins at once, as after one that returns. Other exceptions rise.
    """
    wait = wait or stop.wait
    bound = FIRST_WAIT_SECONDS
    while not stop.is_set():
        began_at = time.monotonic()
        try:
            session()
        except faults as fault:
            failed(fault)
            most = longest(fault)
            if time.monotonic() < began_at + most:
                seconds = min(bound, most)
                # By chance, so that not all that failed together try again together.
                if not wait(random.uniform(seconds / 2, seconds)):
                    bound = 2 * seconds
                    continue
        bound = FIRST_WAIT_SECONDS
