"""A database of its own for each test, and a doctor that waits half a second for Kafka."""

from collections.abc import Iterator

import psycopg
import pytest

from relay.database import Connection
from relay.doctor import kafka as kafka_findings
from tests.relay.operating import relay_role


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def relay_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection) as url:
        yield url
