"""What the relay writes on standard error is bounded, also where a client chose the words."""

import json
from collections.abc import Iterator

import pytest
import structlog

from relay.process import logs

LONG = "x" * 100_000


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_short_however_long_the_words_of_others_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info")
    try:
        raise ValueError(LONG)
    except ValueError:
        structlog.get_logger().exception("failed", detail=LONG, reason="short", number=7)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["reason"], told["number"]) == ("failed", "short", 7)
    assert told["detail"].startswith("xxx")
    assert len(line) < 20_000
