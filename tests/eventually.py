"""Assertions about what happens in another process: retried, never slept for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Between two looks lies a tenth of the time that it has taken so far: what is waited for needs the
# processor more than who waits.
MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.01, 0.1


def eventually(assertion: Callable[[], T], timeout_seconds: float = 10) -> T:
    """Call `assertion` until it raises no AssertionError; returns what it returns.

    Raises its last AssertionError after `timeout_seconds`; any other error at once.
    """
    began_at = time.monotonic()
    while True:
        try:
            return assertion()
        except AssertionError:
            waited_seconds = time.monotonic() - began_at
            if waited_seconds > timeout_seconds:
                raise
            time.sleep(min(max(waited_seconds / 10, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS))
