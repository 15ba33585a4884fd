"""A server in place of Pub/Sub, which fails on demand, and the log."""

from collections.abc import Iterator

import pytest
import trustme

from local.pubsub import PubSub
from local.server import free_port
from tests.relay.push.pubsub.stage import TopicStage
from tests.relay.push.stage import PushRelay, PushStage


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whose certificate the server has at its TLS port."""
    return trustme.CA()


@pytest.fixture(scope="session")
def pubsub(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[PubSub]:
    """One for the tests of this process."""
    directory = tmp_path_factory.mktemp("pubsub")
    pem = directory / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    with PubSub.start(directory, tls=(free_port(), pem)) as server:
        yield server


@pytest.fixture
def topics(stage: PushStage, pubsub: PubSub) -> Iterator[TopicStage]:
    """No subscription and no topic yet, and a server that does not fail."""
    pubsub.plan()
    pubsub.seen()
    yield TopicStage(stage, pubsub)
    pubsub.plan()


@pytest.fixture
def relay(topics: TopicStage) -> Iterator[PushRelay]:
    """One relay that may send to each topic here."""
    with PushRelay(topics.database_url, **topics.environment) as relay:
        yield relay
