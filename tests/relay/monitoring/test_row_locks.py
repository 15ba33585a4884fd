"""Who leaves a transaction open that holds a subscription's rows is named, with what ends it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from relay.database import Connection
from relay.monitoring import row_locks as module
from relay.monitoring.row_locks import RowLock, row_locks
from relay.monitoring.telemetry import Telemetry
from relay.operate import subscription
from tests.eventually import eventually
from tests.relay.monitoring.samples import samples
from tests.relay.monitoring.serving import Serve
from tests.relay.operating import add_dead_letter, drop_login, outbox_relay, publish, relay_role

REPLAY = "select outbox.replay('billing', '2000-01-01')"
REDRIVE = "select outbox.redrive('{1}')"
LOCK = "select from outbox.subscription where name = 'billing' for update"
RENAME = "update outbox.subscription set name = 'invoices' where name = 'billing'"
RETRY = "select outbox.retry('billing', 'g')"
# It writes rows that refer to the cursors.
RETRY_ALL = "select outbox.retry('billing')"
LEFT_OPEN: list[LiteralString] = [REPLAY, REDRIVE, LOCK, RENAME, RETRY]
ROW = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
    select cursor.id, 9, 'g', 1, clock_timestamp() + interval '1 hour'
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""
SOURCE = "select outbox.connect_in('shop', 'orders', 'kafka', '{\"topic\": \"orders\"}')"
REFUSED = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, header_names, header_values, reason, detail)
    select id, 'orders', 0, 1, '{}', '{}', 'bad_event', '' from outbox.source
"""
# As a run claims them.
CLAIM = """
    select cursor.id from outbox.cursor
    join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' for no key update of cursor skip locked
"""
NAME = "select set_config('application_name', 'outbox-relay host-1 cursor 1', true)"


@pytest.fixture(autouse=True)
def billing(connection: Connection) -> None:
    """An endpoint `billing` with a message, a dead letter and a row."""
    subscription.add(
        connection, "billing", channels=["orders"], endpoint="https://a.example/", settings={}
    )
    publish(connection)
    assert add_dead_letter(connection, 1, subscription="billing") == 1
    connection.execute(ROW)


@pytest.fixture
def relay_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection) as url:
        yield url


@pytest.fixture
def service_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection, "outbox_service") as url:
        yield url


@contextmanager
def left_open(url: str, *statements: LiteralString) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True, application_name="psql") as session:
        session.execute("begin")
        for statement in statements:
            session.execute(statement)
        yield session
        with suppress(psycopg.OperationalError):
            session.execute("rollback")


def seen(url: str) -> list[RowLock]:
    with psycopg.connect(url, autocommit=True) as session:
        return row_locks(session)


@pytest.mark.parametrize("statement", LEFT_OPEN)
def test_a_relay_sees_whose_session_stays_open(
    relay_url: str, service_url: str, statement: LiteralString
) -> None:
    with left_open(service_url, statement) as session:
        (lock,) = seen(relay_url)
        assert (lock.pid, lock.application) == (session.info.backend_pid, "psql")
        assert lock.login == conninfo_to_dict(service_url)["user"]
        assert lock.end == f"select pg_terminate_backend({lock.pid})"
    assert seen(relay_url) == []


@pytest.mark.parametrize(
    "statement",
    [
        "select from outbox.source for update",
        "select outbox.seek_source(id, 'earliest') from outbox.source",
        "update outbox.source_dead_letter set due = true",
    ],
)
def test_so_it_is_where_an_inward_connector_stands_still(
    connection: Connection, relay_url: str, service_url: str, statement: LiteralString
) -> None:
    connection.execute(SOURCE)
    connection.execute(REFUSED)
    with left_open(service_url, statement) as session:
        assert [lock.pid for lock in seen(relay_url)] == [session.info.backend_pid]


def test_what_it_may_hold_is_told(relay_url: str, service_url: str) -> None:
    with left_open(service_url, LOCK):
        (lock,) = seen(relay_url)
        assert str(lock).endswith("(psql) holds rows of outbox.subscription")
    with left_open(service_url, REPLAY):
        (lock,) = seen(relay_url)
        assert "outbox.cursor" in lock.tables


def test_it_is_named_though_its_login_was_dropped(
    connection: Connection, relay_url: str, service_url: str
) -> None:
    with left_open(service_url, LOCK) as session:
        drop_login(connection, service_url)
        (lock,) = seen(relay_url)
        assert (lock.pid, lock.login) == (session.info.backend_pid, None)
        assert f"session {lock.pid} of a role that was dropped (psql)" in str(lock)


def test_a_savepoint_that_is_over_hides_nobody(relay_url: str, service_url: str) -> None:
    """The row's mark names the savepoint's transaction then, which is nobody's any more."""
    with left_open(service_url, "savepoint a", REPLAY, "release a") as session:
        assert [lock.pid for lock in seen(relay_url)] == [session.info.backend_pid]


def test_another_who_refers_to_the_rows_hides_nobody(relay_url: str, service_url: str) -> None:
    """The row's mark names both together then."""
    with left_open(service_url, REPLAY) as first, left_open(service_url, RETRY_ALL) as second:
        pids = {first.info.backend_pid, second.info.backend_pid}
        assert {lock.pid for lock in seen(relay_url)} == pids


def test_ending_the_one_that_is_named_gives_the_cursors_back(
    connection: Connection, relay_url: str, service_url: str
) -> None:
    with left_open(service_url, REPLAY):
        (lock,) = seen(relay_url)
        assert connection.execute(CLAIM).fetchall() == []
        connection.execute("select pg_terminate_backend(%s, 5000)", [lock.pid])
        assert len(connection.execute(CLAIM).fetchall()) == 5


def test_so_is_a_transaction_that_was_prepared_and_has_no_session(
    connection: Connection,
    relay_url: str,
    service_url: str,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    name = sql.Literal(f"it's {connection.info.dbname}")
    with left_open(service_url, REPLAY) as session:
        session.execute(sql.SQL("prepare transaction {}").format(name))
    # Since when is told to everybody.
    assert seen(relay_url) == []
    monkeypatch.setattr(module, "LONG_SECONDS", 0.0)
    try:
        (lock,) = seen(relay_url)
        assert (lock.pid, lock.login) == (None, conninfo_to_dict(service_url)["user"])
        assert str(lock).startswith(f"prepared transaction {lock.name} of relay_")
        assert lock.end == "rollback prepared " + name.as_string(connection)
        telemetry = Telemetry()
        serve(relay_url, telemetry)
        assert samples(telemetry)["outbox_relay_blocking_sessions", ()] == 1
        assert connection.execute(CLAIM).fetchall() == []
    finally:
        connection.execute(sql.SQL("rollback prepared {}").format(name))
    assert seen(relay_url) == []
    assert len(connection.execute(CLAIM).fetchall()) == 5


def test_what_is_open_for_a_moment_is_not_named(
    database_url: str, service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To who may see it, a moment is five seconds."""
    with left_open(service_url, REPLAY):
        assert seen(database_url) == []
        monkeypatch.setattr(module, "LONG_SECONDS", 0.0)
        (lock,) = seen(database_url)
        assert lock.seconds is not None
        assert 0 < lock.seconds < 60


def test_what_is_over_at_the_second_look_is_not_named(
    relay_url: str, service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with left_open(service_url, REPLAY) as session:
        look = module._look

        def look_and_end(relay: Connection) -> list[RowLock]:
            found = look(relay)
            session.execute("rollback")
            session.execute("begin")
            session.execute(REPLAY)
            return found

        monkeypatch.setattr(module, "_look", look_and_end)
        assert seen(relay_url) == []


def test_who_reads_or_prepares_a_statement_is_not_named(relay_url: str, service_url: str) -> None:
    with left_open(
        service_url,
        "select * from outbox.cursor",
        "select outbox.replay('billing', '2000-01-01', dry_run => true)",
        "prepare it as delete from outbox.cursor",
    ):
        assert seen(relay_url) == []


def test_a_run_is_not_named_and_who_calls_itself_one_is(
    connection: Connection,
    database_url: str,
    relay_url: str,
    service_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONG_SECONDS", 0.0)
    with relay_role(connection) as other_url, left_open(other_url, NAME, CLAIM):
        assert seen(relay_url) == []
        assert seen(database_url) == []
    with left_open(service_url, NAME, LOCK) as session:
        assert [lock.pid for lock in seen(relay_url)] == [session.info.backend_pid]


def test_status_and_metrics_tell_it(relay_url: str, service_url: str, serve: Serve) -> None:
    telemetry = Telemetry()
    serve(relay_url, telemetry)
    with left_open(service_url, REPLAY) as session:
        assert samples(telemetry)["outbox_relay_blocking_sessions", ()] == 1
        shown = outbox_relay("status", environment={"DATABASE_URL": relay_url}).stdout
        assert f"OTHERS WAIT: session {session.info.backend_pid} of relay_" in shown


def test_a_pause_that_waits_for_it_says_that_the_doctor_knows(
    database_url: str, service_url: str
) -> None:
    with left_open(service_url, LOCK):
        environment = {"DATABASE_URL": database_url}
        refused = outbox_relay("subscriptions", "pause", "billing", environment=environment)
        assert refused.returncode == 1
        assert "outbox-relay doctor names who" in refused.stderr

        # It has taken five seconds itself.
        eventually(lambda: told(database_url))


def told(url: str) -> None:
    assert [lock.tables for lock in seen(url)] == ["outbox.subscription"]
