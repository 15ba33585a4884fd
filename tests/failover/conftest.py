"""Two servers for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.conftest import Spawn
from tests.pair import Pair, replicated
from tests.relay.stage import ExactlyOnceStage
from tests.servers import TEMPLATE, make_template


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary and its standby, and the address that everybody uses."""
    with replicated(tmp_path) as pair:
        make_template(pair.primary)
        yield pair


@pytest.fixture
def stage(pair: Pair, kafka: str, topic_prefix: str, spawn: Spawn) -> ExactlyOnceStage:
    """On the pair's address."""
    return ExactlyOnceStage(pair.url(TEMPLATE), kafka, topic_prefix, spawn)


@pytest.fixture
def client(pair: Pair) -> Iterator[TestClient]:
    """The service on the pair's address."""
    settings = Settings(database_url=pair.url(TEMPLATE), pool_size=4, database_timeout_seconds=5)
    headers = {"Content-Type": "application/json"}
    with TestClient(create_app(settings), raise_server_exceptions=False, headers=headers) as client:
        yield client
