"""What tests need and no wheel of the lock carries: a browser, Node, promtool."""

import os
import shutil
from typing import NoReturn

import pytest

# Set where every test has to run, as .ci/run does: there a program that is missing is a failure.
NOTHING_SKIPPED = "NOTHING_SKIPPED"


def required(*names: str) -> str:
    """The path of the first that is found. Else the test is skipped, and the summary says why."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is not None:
        return found
    return missing(f"{names[0]} is not on PATH; install it, and this test runs")


def missing(why: str) -> NoReturn:
    """Skips the test, or fails it where nothing may be skipped."""
    if os.environ.get(NOTHING_SKIPPED):
        pytest.fail(f"NOT TRIED: {why}")
    pytest.skip(f"NOT TRIED: {why}")
