"""Two servers for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.conftest import Spawn
from tests.failover.serving import serving
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
    with serving(pair.url(TEMPLATE)) as client:
        yield client
