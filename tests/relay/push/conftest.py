"""A receiver, relays that are moved by hand, and the log between them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from relay.push import runs
from relay.push.requests import sending
from tests.conftest import PostgresServer
from tests.receiver import Receiver
from tests.relay.push.stage import PushRelay, PushStage
from tests.relay.push.together import Together

OpenRelay = Callable[[], PushRelay]

# By rows: it takes less than another database would.
EMPTY = (
    "select outbox.delete_subscription(name, true) from outbox.subscription",
    "delete from outbox.message",
    "delete from outbox.attempt_log",
)


@pytest.fixture(scope="session")
def push_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database that the push tests of one worker use in turn."""
    with postgres_server.clone() as url:
        yield url


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine too, a run ends with all that it has sent, and with nothing in flight.

    And a probe is a head's, unless a test says otherwise: not once in eight the log's.
    """
    monkeypatch.setattr(runs, "FRESH_PROBES", 0.0)
    monkeypatch.setattr(sending, "FEED_SECONDS", 5.0)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 10.0)
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 10.0)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 10.0)


@pytest.fixture
def stage(push_database_url: str, patience: None) -> Iterator[PushStage]:
    """An empty log without subscriptions, and a receiver that takes everything."""
    with Receiver() as receiver, psycopg.connect(push_database_url, autocommit=True) as db:
        for statement in EMPTY:
            db.execute(statement)
        yield PushStage(push_database_url, db, receiver)


@pytest.fixture
def open_relay(stage: PushStage) -> Iterator[OpenRelay]:
    """Opens a further relay."""
    with ExitStack() as relays:
        yield lambda: relays.enter_context(PushRelay(stage.database_url))


@pytest.fixture
def relay(open_relay: OpenRelay) -> PushRelay:
    """One relay."""
    return open_relay()


@pytest.fixture
def together(relay: PushRelay) -> Iterator[Together]:
    shared = Together(relay)
    yield shared
    shared.connection.close()


@pytest.fixture
def impatience(together: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answer at once but one, which is waited for a moment."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.5)
