"""Maintenance and migrations are no other login's to stop: what it may lock holds neither up."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from relay import migrations
from relay.database import Connection
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.relay.monitoring.maintaining import LONG_AGO, maintain, seconds

GROUPS = ["outbox_publisher", "outbox_service", "outbox_reader", "pg_signal_backend"]
MODES = [
    "access share",
    "row share",
    "row exclusive",
    "share update exclusive",
    "share",
    "share row exclusive",
    "exclusive",
    "access exclusive",
]

Intrude = Callable[[str], Connection]


@contextmanager
def login(owner: Connection, url: str, group: str) -> Iterator[Connection]:
    """A session of a new login that is a member of `group` and no more."""
    name = f"intruder_{owner.info.dbname}_{group}"[:63]
    role = sql.Identifier(name)
    owner.execute(sql.SQL("create role {} login in role {}").format(role, sql.Identifier(group)))
    try:
        with psycopg.connect(make_conninfo(url, user=name), autocommit=True) as session:
            yield session
    finally:
        owner.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture
def intrude(connection: Connection, database_url: str) -> Iterator[Intrude]:
    with ExitStack() as sessions:
        yield lambda group: sessions.enter_context(login(connection, database_url, group))


# Those that once guarded both, and as many small ones.
ADVISORY = """
    select pg_advisory_lock(number)
    from (select generate_series(0, 50) union select unnest(array[%s, %s]::bigint[])) as n (number)
"""
FORMER = (0x72657461696E, 0x6F7574626F78)


def test_advisory_locks_of_a_login_without_rights_stop_no_maintenance(
    connection: Connection, intrude: Intrude, database_url: str
) -> None:
    intrude("pg_signal_backend").execute(ADVISORY, FORMER)
    connection.execute(LONG_AGO)
    maintain(database_url)
    assert seconds(connection) < 60


def test_advisory_locks_of_a_login_without_rights_stop_no_migration(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        migrations, "TIMEOUT", "select set_config('lock_timeout', '2s', true)", raising=False
    )
    with (
        postgres_server.clone("template0") as url,
        psycopg.connect(url, autocommit=True) as owner,
        login(owner, url, "pg_signal_backend") as intruder,
    ):
        intruder.execute(ADVISORY, FORMER)
        ran = [one.version for one in migrations.migrate(owner, outbox_only=False)]
        assert ran == [one.version for one in migrations.known()]
        assert migrations.grant_roles(owner)


TABLES = """
    select class.oid::regclass::text from pg_class as class
    where relnamespace = 'outbox'::regnamespace and relkind in ('r', 'p', 'v')
"""
GUARDS = ("outbox.maintenance", "outbox.migration", "outbox.installation")


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_others_may_lock_stops_neither(
    connection: Connection, intrude: Intrude, database_url: str, group: str
) -> None:
    """All of it at once, and held."""
    intruder = intrude(group)
    intruder.execute("begin")
    tables = [name for (name,) in connection.execute(TABLES)]
    held = []
    for table in tables:
        for mode in MODES:
            with suppress(errors.InsufficientPrivilege), intruder.transaction():
                intruder.execute(f"lock table {table} in {mode} mode nowait".encode())
                held.append((table, mode))
    guards = [mode for table, mode in held if table in GUARDS]
    assert set(guards) <= {"access share"}
    connection.execute(LONG_AGO)
    maintain(database_url)
    assert seconds(connection) < 60
    assert list(migrations.migrate(connection, outbox_only=False)) == []
    assert migrations.grant_roles(connection)


PREPARED = [
    f"prepare hold_{number} as {statement}"
    for number, statement in enumerate(
        (
            "delete from outbox.maintenance",
            "delete from outbox.migration",
            "delete from outbox.known_partition",
            "delete from outbox.installation",
            "update outbox.maintenance set relay = ''",
        )
    )
]


@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_service", "outbox_reader"])
def test_statements_that_others_prepare_stop_neither(
    connection: Connection, intrude: Intrude, database_url: str, group: str
) -> None:
    """Each of them locks its table as if it might run, and keeps the lock."""
    intruder = intrude(group)
    intruder.execute("begin")
    for statement in PREPARED:
        intruder.execute(statement.encode())
    # The locks are there.
    with pytest.raises(errors.LockNotAvailable), connection.transaction():
        connection.execute("lock table outbox.maintenance in exclusive mode nowait")
    connection.execute(LONG_AGO)
    maintain(database_url)
    assert seconds(connection) < 60
    connection.execute("set lock_timeout = '5s'")
    connection.execute("select outbox.turn_partition('outbox.message', 7)")
    assert list(migrations.migrate(connection, outbox_only=False)) == []


# As a vacuum holds it, for as long as another session has changed the rights on its table.
AS_VACUUM = """
    lock table outbox.maintenance, outbox.known_partition, outbox.installation, outbox.migration
        in share update exclusive mode
"""


def test_the_lock_of_a_vacuum_stops_neither(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TIMEOUT", "select set_config('lock_timeout', '2s', true)")
    connection.execute(LONG_AGO)
    with psycopg.connect(database_url) as vacuum:
        vacuum.execute(AS_VACUUM)
        maintain(database_url)
        assert seconds(connection) < 60
        connection.execute("set lock_timeout = '2s'")
        connection.execute("select outbox.turn_partition('outbox.message', 7)")
        assert list(migrations.migrate(connection, outbox_only=False)) == []
        assert migrations.grant_roles(connection)


# It locks the table of an index before it asks whether that is one of BRIN, and whose it is.
AGAIN_AND_AGAIN = """
    do $$
    begin
        loop
            begin
                perform brin_summarize_range({index}::oid, 0);
            exception when wrong_object_type then
                null;
            end;
        end loop;
    end
    $$
"""
IS_AT_IT = "select state = 'active' from pg_stat_activity where pid = %s"


def test_a_login_that_locks_the_table_again_and_again_keeps_no_step_from_its_work(
    connection: Connection, intrude: Intrude
) -> None:
    intruder = intrude("pg_signal_backend")
    index = connection.execute("select 'outbox.maintenance_pkey'::regclass::oid::bigint").fetchone()
    assert index is not None
    statement = sql.SQL(AGAIN_AND_AGAIN).format(index=sql.Literal(index[0]))

    def go_on() -> None:
        with suppress(errors.QueryCanceled):
            intruder.execute(statement)

    def it_is_at_it() -> None:
        found = connection.execute(IS_AT_IT, (intruder.info.backend_pid,)).fetchone()
        assert found == (True,)

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_on)
        try:
            eventually(it_is_at_it)
            steps = [connection.execute("select outbox.hold_maintenance()") for _ in range(100)]
            assert {step.fetchone() for step in steps} == {(True,)}
        finally:
            intruder.cancel()
            going.result(60)


@pytest.mark.parametrize("group", GROUPS)
def test_the_locks_are_not_others_to_take(intrude: Intrude, group: str) -> None:
    intruder = intrude(group)
    for statement in (
        "select outbox.hold_maintenance()",
        "select outbox.note_maintenance('me', null)",
        "select from outbox.maintenance for update",
        "select from outbox.maintenance for key share",
        "update outbox.maintenance set done_at = clock_timestamp()",
        "select from outbox.migration for update",
        "select from outbox.installation for update",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            intruder.execute(statement.encode())


WAITS = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"


def test_of_two_that_migrate_an_empty_database_at_once_the_second_waits_and_goes_on(
    postgres_server: PostgresServer, connection: Connection
) -> None:
    """There is no table to lock yet: it waits for the schema's name."""
    with (
        postgres_server.clone("template0") as url,
        psycopg.connect(url) as first,
        psycopg.connect(url, autocommit=True) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        first.execute(migrations.known()[0].path.read_bytes())
        ran = pool.submit(list, migrations.migrate(second, outbox_only=False))
        pid = second.info.backend_pid

        def it_waits() -> None:
            assert connection.execute(WAITS, (pid,)).fetchone() == (True,)

        eventually(it_waits)
        first.commit()
        assert ran.result(60) == migrations.known()[1:]
