"""A program that is missing is told, and where nothing may be skipped it is a failure."""

import sys
from pathlib import Path

import pytest

from tests.programs import NOTHING_SKIPPED, required


def test_the_first_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    assert required("no-such-program", python.name) == str(python)


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTHING_SKIPPED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT TRIED: no-such-program"):
        required("no-such-program")
    monkeypatch.setenv(NOTHING_SKIPPED, "1")
    with pytest.raises(pytest.fail.Exception, match="NOT TRIED: no-such-program"):
        required("no-such-program")
