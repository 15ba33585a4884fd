"""Sessions of the owner, and relays in small, on a database of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session

Open = Callable[[], Session]
OpenRelay = Callable[..., Relay]


@pytest.fixture
def open_session(database_url: str) -> Iterator[Open]:
    """Opens a further session of the owner, in autocommit."""
    with ExitStack() as sessions:
        yield lambda: sessions.enter_context(psycopg.connect(database_url, autocommit=True))


@pytest.fixture
def db(open_session: Open) -> Session:
    """The owner's session, in autocommit."""
    return open_session()


@pytest.fixture
def open_relay(database_url: str) -> Iterator[OpenRelay]:
    """Opens a further relay, with a sink of its own or the one that is given."""
    with ExitStack() as relays:

        def open_one(sink: RecordingSink | None = None) -> Relay:
            return relays.enter_context(Relay(database_url, sink))

        yield open_one


@pytest.fixture
def relay(open_relay: OpenRelay) -> Relay:
    """One relay whose sink remembers."""
    return open_relay()
