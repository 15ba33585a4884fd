"""The doctor names who holds a subscription's rows in a transaction that was left open."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from relay.database import Connection
from relay.monitoring import row_locks
from tests.relay.doctor.examining import found, subscribe
from tests.relay.operating import publish, relay_role

REPLAY = "select outbox.replay('billing', '2000-01-01')"


@pytest.fixture
def thief(connection: Connection) -> Iterator[Connection]:
    """A session of the service that has replayed a subscription, and leaves that open."""
    subscribe(connection, "https://a.example/")
    publish(connection)
    with relay_role(connection, "outbox_service") as url, psycopg.connect(url) as session:
        session.execute(REPLAY)
        yield session
        session.rollback()


def test_a_session_is_named_with_what_ends_it(relay_url: str, thief: Connection) -> None:
    finding = found(relay_url, "locks")
    pid = thief.info.backend_pid
    assert finding.level == "fault"
    assert f"session {pid} of relay_" in finding.text
    assert "holds rows of outbox.c" in finding.text
    assert f"select pg_terminate_backend({pid})" in finding.hint
    assert "nologin" in finding.hint
    thief.rollback()
    assert found(relay_url, "locks").level == "ok"


def test_a_prepared_transaction_is_named_with_what_ends_it(
    connection: Connection, relay_url: str, thief: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = connection.info.dbname
    thief.execute(sql.SQL("prepare transaction {}").format(sql.Literal(name)))
    monkeypatch.setattr(row_locks, "LONG_SECONDS", 0.0)
    try:
        finding = found(relay_url, "locks")
    finally:
        connection.execute(sql.SQL("rollback prepared {}").format(sql.Literal(name)))
    assert finding.level == "fault"
    assert f"prepared transaction '{name}' of relay_" in finding.text
    assert f"rollback prepared '{name}'" in finding.hint
    assert found(relay_url, "locks").level == "ok"
