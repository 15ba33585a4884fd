"""Who makes others wait by a lock that Postgres takes before it asks for rights is named."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors, sql
from structlog.testing import capture_logs

from relay.database import Connection
from relay.doctor import examination
from relay.doctor.finding import Finding
from relay.monitoring.table_locks import TableLock, table_locks
from relay.monitoring.telemetry import Telemetry
from tests.eventually import eventually
from tests.relay.monitoring.maintaining import JUST_NOW, LONG_AGO, maintain
from tests.relay.monitoring.samples import samples
from tests.relay.monitoring.serving import Serve
from tests.relay.operating import drop_login, outbox_relay, relay_role, settings

RULE = "create rule mine as on insert to outbox.message do instead nothing"
TRIGGER = "create trigger mine before insert on outbox.message execute function now()"


@pytest.fixture
def relay_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection) as url:
        yield url


@pytest.fixture
def publisher_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection, "outbox_publisher") as url:
        yield url


@contextmanager
def stopped(
    publisher_url: str,
    statement: LiteralString,
    table: LiteralString = "outbox.message",
    name: str = "psql",
) -> Iterator[int]:
    """Two sessions of a login without rights: one uses a table, the other waits for it.

    Gives the process id of the latter.
    """

    def wait(session: Connection) -> None:
        with suppress(errors.InsufficientPrivilege, errors.AdminShutdown):
            session.execute(statement)

    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(publisher_url, autocommit=True, application_name=name) as session,
        psycopg.connect(publisher_url) as user,
    ):
        user.execute(sql.SQL("prepare use as delete from {}").format(sql.SQL(table)))
        waiting = pool.submit(wait, session)
        try:
            yield session.info.backend_pid
        finally:
            user.rollback()
            waiting.result(60)


def seen(url: str) -> list[TableLock]:
    with psycopg.connect(url, autocommit=True) as session:
        return table_locks(session)


def seen_by(url: str, pid: int) -> TableLock:
    """What is seen of it, as soon as it waits."""

    def named() -> TableLock:
        locks = [one for one in seen(url) if one.pid == pid]
        assert len(locks) == 1
        return locks[0]

    return eventually(named)


@pytest.mark.parametrize(
    ("statement", "mode"), [(RULE, "AccessExclusiveLock"), (TRIGGER, "ShareRowExclusiveLock")]
)
def test_a_relay_sees_who_waits_and_a_superuser_by_what_kind_of_statement(
    database_url: str, relay_url: str, publisher_url: str, statement: LiteralString, mode: str
) -> None:
    with stopped(publisher_url, statement) as pid:
        lock = seen_by(relay_url, pid)
        assert (lock.login, lock.application) == (
            psycopg.conninfo.conninfo_to_dict(publisher_url)["user"],
            "psql",
        )
        assert (lock.table, lock.mode, lock.granted) == ("outbox.message", mode, False)
        assert lock.statement is None
        assert lock.seconds is not None
        assert 0 < lock.seconds < 60
        kind = " ".join(statement.upper().split()[:2])
        assert seen_by(database_url, pid).statement == kind
    assert seen(relay_url) == []


# Each wait is over before a second is.
AGAIN = """
    do $$
    begin
        perform set_config('lock_timeout', '300ms', false);
        loop
            begin
                execute 'create rule mine as on insert to outbox.message do instead nothing';
            exception when lock_not_available then
                null;
            end;
        end loop;
    end
    $$
"""


def test_who_gives_up_and_waits_anew_is_named(relay_url: str, publisher_url: str) -> None:
    with stopped(publisher_url, AGAIN) as pid:
        lock = seen_by(relay_url, pid)
        assert (lock.mode, lock.granted) == ("AccessExclusiveLock", False)


def test_who_waits_is_named_though_its_login_was_dropped(
    connection: Connection, relay_url: str, publisher_url: str
) -> None:
    with stopped(publisher_url, RULE) as pid:
        seen_by(relay_url, pid)
        drop_login(connection, publisher_url)
        assert seen_by(relay_url, pid).login is None
        (finding,) = found(relay_url)
        assert f"session {pid} of a role that was dropped (psql) waits for" in finding.text
        assert "alter role" not in finding.hint


def found(url: str) -> list[Finding]:
    return [one for one in examination.examine(settings(url)) if one.what == "locks"]


@pytest.mark.parametrize("table", ["outbox.message", "outbox.migration"])
def test_the_doctor_names_who_waits_whatever_table_it_is_and_what_to_do(
    relay_url: str, publisher_url: str, table: LiteralString
) -> None:
    statement = "create rule mine as on insert to " + table + " do instead nothing"
    with stopped(publisher_url, statement, table) as pid:
        seen_by(relay_url, pid)
        (finding,) = found(relay_url)
        assert finding.level == "fault"
        assert f"session {pid} of relay_" in finding.text
        assert f"waits for AccessExclusiveLock on {table} for" in finding.text
        assert f"select pg_terminate_backend({pid})" in finding.hint
        assert "nologin" in finding.hint
    (finding,) = found(relay_url)
    assert finding.level == "ok"


def test_ending_the_session_that_is_named_lets_the_others_go_on(
    connection: Connection, relay_url: str, publisher_url: str
) -> None:
    with stopped(publisher_url, RULE) as pid:
        seen_by(relay_url, pid)
        connection.execute("set lock_timeout = '100ms'")
        with pytest.raises(errors.LockNotAvailable):
            connection.execute("select outbox.publish('orders', 'event', '{}')")
        connection.execute("select pg_terminate_backend(%s, 5000)", [pid])
        connection.execute("select outbox.publish('orders', 'event', '{}')")


def test_who_holds_such_a_lock_is_named_while_others_wait(
    connection: Connection, relay_url: str
) -> None:
    """A session of the owner that was left open."""
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(connection.info.dsn, autocommit=True) as writer,
        psycopg.connect(connection.info.dsn, application_name="left open") as holder,
    ):
        holder.execute("lock table outbox.message in share mode")
        assert seen(relay_url) == []
        writes = pool.submit(writer.execute, "select outbox.publish('orders', 'event', '{}')")
        lock = seen_by(relay_url, holder.info.backend_pid)
        assert (lock.application, lock.mode, lock.granted) == ("left open", "ShareLock", True)
        holder.rollback()
        writes.result(60)


def test_a_migration_is_not_named_in_its_first_minute(
    connection: Connection, relay_url: str
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(connection.info.dsn, autocommit=True) as writer,
        psycopg.connect(connection.info.dsn, application_name="outbox-relay host-1") as migration,
    ):
        migration.execute("lock table outbox.message in access exclusive mode")
        writes = pool.submit(writer.execute, "select outbox.publish('orders', 'event', '{}')")

        eventually(lambda: they_wait(connection))
        assert seen(relay_url) == []
        migration.rollback()
        writes.result(60)


def test_a_relay_that_waits_is_not_named_in_its_first_minute(
    connection: Connection, relay_url: str
) -> None:
    with stopped(relay_url, RULE, name="outbox-relay host-1"):
        eventually(lambda: they_wait(connection))
        assert seen(relay_url) == []


LONGEST = """
    select max(clock_timestamp() - waitstart) > interval '1.5 seconds'
    from pg_locks where relation = 'outbox.message'::regclass and not granted
"""


def they_wait(connection: Connection) -> None:
    assert connection.execute(LONGEST).fetchone() == (True,)


def test_who_calls_itself_a_relay_and_is_none_is_named(relay_url: str, publisher_url: str) -> None:
    with stopped(publisher_url, RULE, name="outbox-relay me") as pid:
        seen_by(relay_url, pid)


@pytest.mark.long
def test_status_and_metrics_tell_it_as_far_as_they_come(
    relay_url: str, publisher_url: str, serve: Serve
) -> None:
    telemetry = Telemetry()
    serve(relay_url, telemetry)
    environment = {"DATABASE_URL": relay_url}
    with stopped(publisher_url, TRIGGER) as pid:
        seen_by(relay_url, pid)
        shown = outbox_relay("status", environment=environment).stdout
        assert re.search(f"^OTHERS WAIT: session {pid} of relay_", shown, re.MULTILINE)
    with stopped(publisher_url, RULE) as pid:
        seen_by(relay_url, pid)
        # What reads the tables waits as well.
        assert samples(telemetry)["outbox_relay_blocking_sessions", ()] == 1
        refused = outbox_relay("status", environment=environment)
        assert (refused.returncode, "outbox-relay doctor names who" in refused.stderr) == (1, True)


def test_maintenance_that_is_kept_out_for_long_names_by_whom(
    connection: Connection, database_url: str, relay_url: str
) -> None:
    connection.execute(JUST_NOW)
    with psycopg.connect(relay_url, application_name="not a relay") as holder:
        holder.execute("select outbox.hold_maintenance()")
        with capture_logs() as logs:
            maintain(relay_url)
        assert [log["event"] for log in logs if log["log_level"] != "debug"] == []
        holder.rollback()
        connection.execute(LONG_AGO)
        holder.execute("select outbox.hold_maintenance()")
        with capture_logs() as logs:
            maintain(relay_url)
        (log,) = [one for one in logs if one["event"] == "maintenance_is_kept_out"]
        pid = holder.info.backend_pid
        assert log["locks"][0].startswith(f"session {pid} of relay_")
        assert "(not a relay) holds FOR UPDATE on outbox.maintenance" in log["locks"][0]
        (finding,) = [
            one for one in examination.examine(settings(relay_url)) if one.what == "maintenance"
        ]
        assert f"session {pid} of relay_" in finding.text
        assert f"pg_terminate_backend({pid})" in finding.hint


def test_a_session_that_waits_for_the_maintenance_is_named_as_well(
    connection: Connection, relay_url: str, publisher_url: str
) -> None:
    connection.execute(LONG_AGO)
    statement: LiteralString = "create rule mine as on insert to outbox.maintenance do nothing"
    with stopped(publisher_url, statement, "outbox.maintenance") as pid, capture_logs() as logs:
        seen_by(relay_url, pid)
        maintain(relay_url)
    (log,) = [one for one in logs if one["event"] == "maintenance_is_kept_out"]
    assert f"session {pid} of relay_" in log["locks"][0]
