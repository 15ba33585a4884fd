"""Fixtures of cursors that follow the log together."""

import pytest

from relay.log import shared
from tests.relay.conftest import OpenRelay
from tests.relay.log.together import SharedSink
from tests.relay.recording import Relay
from tests.sql.log import Session


@pytest.fixture
def sink() -> SharedSink:
    return SharedSink()


@pytest.fixture
def together(db: Session, open_relay: OpenRelay, sink: SharedSink) -> Relay:
    """A relay on a database without a subscription."""
    db.execute("delete from outbox.subscription")
    return open_relay(sink)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are soon far behind, and little of one is read at once."""
    monkeypatch.setattr(shared, "MAX_BEHIND_IDS", 50)
    monkeypatch.setattr(shared, "FAR_MESSAGES", 20)
    monkeypatch.setattr(shared, "FAR_IDS", 80)
