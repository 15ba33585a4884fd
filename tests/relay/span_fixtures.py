"""What a relay exports its spans to."""

from collections.abc import Iterator

import pytest

from relay.monitoring.spans import Spans
from tests.span_receiver import SpanReceiver


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanReceiver]:
    with SpanReceiver() as taken:
        for name, value in taken.variables().items():
            monkeypatch.setenv(name, value)
        yield taken


@pytest.fixture
def spans(receiver: SpanReceiver) -> Iterator[Spans]:
    """Close them to have them all exported."""
    made = Spans("relay-1")
    yield made
    made.close()
