"""Assertions about what happens in another process: retried, never slept for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(assertion: Callable[[], T], timeout_seconds: float = 10) -> T:
    """Call `assertion` until it raises no AssertionError; returns what it returns.

    Raises its last AssertionError after `timeout_seconds`; any other error at once.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
