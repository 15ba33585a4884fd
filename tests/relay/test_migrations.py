"""Migrations run once, in order, whole or not at all, and never backwards."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

from local.postgres_binaries import bin_dir
from relay import migrations
from relay.database import Connection
from relay.migrations import MigrationError
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.relay.operating import outbox_relay


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database in which nothing ran yet."""
    with postgres_server.clone("template0") as url:
        yield url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Connection]:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        yield connection


def migrate(connection: Connection, *, outbox_only: bool = False) -> list[int]:
    return [one.version for one in migrations.migrate(connection, outbox_only=outbox_only)]


VERSIONS = [one.version for one in migrations.known()]


def test_an_empty_database_gets_all_in_order_and_remembers_them(empty: Connection) -> None:
    assert migrate(empty) == VERSIONS
    ran = migrations.applied(empty).values()
    known = [(one.version, one.name) for one in migrations.known()]
    assert [(one.version, one.name) for one in ran] == known
    assert migrations.check(empty) == []


def test_a_second_time_changes_nothing(empty: Connection) -> None:
    migrate(empty)
    assert migrate(empty) == []


def test_two_at_the_same_moment_run_each_once(empty_url: str) -> None:
    together = threading.Barrier(2)
    ran: list[int] = []

    def one() -> None:
        with psycopg.connect(empty_url, autocommit=True) as connection:
            together.wait(10)
            ran.extend(migrate(connection))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ran) == VERSIONS


def test_a_database_that_is_not_migrated_is_told_the_command(empty: Connection) -> None:
    with pytest.raises(MigrationError, match="outbox-relay migrate"):
        migrations.check(empty)


def test_a_database_newer_than_the_code_is_refused(empty: Connection) -> None:
    migrate(empty)
    empty.execute("insert into outbox.migration (version, name) values (999, 'future')")
    with pytest.raises(MigrationError, match="999"):
        migrations.check(empty)
    with pytest.raises(MigrationError, match="999"):
        migrate(empty)


FUTURE = "insert into outbox.migration values (999, 'future', default, %s)"


def test_a_newer_migration_that_says_so_is_worked_beside_and_not_migrated(
    empty: Connection,
) -> None:
    migrate(empty)
    empty.execute(FUTURE, [VERSIONS[-1]])
    assert [str(one) for one in migrations.check(empty)] == ["999 future"]
    with pytest.raises(MigrationError, match="999 future"):
        migrate(empty)


def test_a_newer_migration_that_needs_another_which_is_not_known_is_refused(
    empty: Connection,
) -> None:
    migrate(empty)
    empty.execute(FUTURE, [VERSIONS[-1] + 1])
    with pytest.raises(MigrationError, match="999 future"):
        migrations.check(empty)


def test_a_database_that_other_migrations_made_is_refused_by_their_name(empty: Connection) -> None:
    migrate(empty)
    empty.execute("update outbox.migration set name = 'cursors' where version = 2")
    with pytest.raises(MigrationError, match="002 cursors"):
        migrations.check(empty)
    with pytest.raises(MigrationError, match="002 cursors"):
        migrate(empty)


def test_a_schema_of_before_the_first_version_is_told_to_begin_anew(empty: Connection) -> None:
    migrate(empty)
    empty.execute("alter table outbox.migration drop column compatible_from")
    for refused in (migrations.check, migrate):
        with pytest.raises(MigrationError, match=r"before version 0\.1\.0.*begin anew"):
            refused(empty)


SALE_EXISTS = "select to_regnamespace('sale') is not null"


def test_the_outbox_alone_needs_no_example_and_can_get_it_later(empty: Connection) -> None:
    without = migrate(empty, outbox_only=True)
    migrations.check(empty)
    assert empty.execute(SALE_EXISTS).fetchone() == (False,)
    assert sorted(without + migrate(empty)) == VERSIONS
    assert empty.execute(SALE_EXISTS).fetchone() == (True,)


def test_a_lower_number_that_comes_later_still_runs(
    empty: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "migrations"
    directory.mkdir()
    known = migrations.known()
    for one in known:
        (directory / one.path.name).write_bytes(one.path.read_bytes())
    monkeypatch.setattr(migrations, "sql_directory", lambda: tmp_path)
    late = known[-1].version + 1
    for version, name in ((late + 1, "last"), (late, "late")):
        (directory / f"{version:03}_{name}.sql").write_text(
            f"insert into outbox.migration (version, name) values ({version}, '{name}')"  # noqa: S608
        )
        assert migrate(empty)[-1] == version


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "migrations"
    directory.mkdir()
    first = migrations.known()[0]
    (directory / first.path.name).write_bytes(first.path.read_bytes())
    (directory / "002_half.sql").write_text("create table outbox.half (id bigint); select 1 / 0;")
    monkeypatch.setattr(migrations, "sql_directory", lambda: tmp_path)
    with pytest.raises(errors.DivisionByZero):
        migrate(empty)
    assert list(migrations.applied(empty)) == [first.version]
    assert empty.execute("select to_regclass('outbox.half')").fetchone() == (None,)


WITH_OTHER_MIGRATIONS = """
import sys
from pathlib import Path
from relay import cli, migrations
directory = Path(sys.argv.pop())
migrations.sql_directory = lambda: directory
sys.exit(cli.main())
"""


def test_what_keeps_a_migration_from_dropping_something_is_told_by_the_command(
    empty: Connection, empty_url: str, tmp_path: Path
) -> None:
    """Any login can make a temporary view that names a function by its oid."""
    migrate(empty)
    directory = tmp_path / "migrations"
    directory.mkdir()
    for one in migrations.known():
        (directory / one.path.name).write_bytes(one.path.read_bytes())
    drop = "drop function outbox.uuid7(); insert into outbox.migration values (999, 'drop')"
    (directory / "999_drop.sql").write_text(drop)
    empty.execute("create temporary view pin as select 'outbox.uuid7()'::regprocedure as it")
    refused = subprocess.run(
        [sys.executable, "-c", WITH_OTHER_MIGRATIONS, "migrate", str(tmp_path)],
        env={"DATABASE_URL": empty_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "pin depends on function outbox.uuid7()" in refused.stderr


def test_an_owner_without_superuser_can_migrate(
    empty: Connection, empty_url: str, postgres_server: PostgresServer
) -> None:
    database = empty.info.dbname
    owner = sql.Identifier(f"owner_{database}")
    empty.execute(sql.SQL("create role {} login").format(owner))
    try:
        alter = "alter database {} owner to {}"
        empty.execute(sql.SQL(alter).format(sql.Identifier(database), owner))
        url = postgres_server.dsn(database, f"owner_{database}")
        with psycopg.connect(url, autocommit=True) as connection:
            assert migrate(connection) == VERSIONS
            assert not migrations.grant_roles(connection)
    finally:
        empty.execute(sql.SQL("drop owned by {}").format(owner))
        empty.execute(
            sql.SQL("alter database {} owner to postgres").format(sql.Identifier(database))
        )
        empty.execute(sql.SQL("drop role {}").format(owner))


def test_a_file_that_does_not_record_itself_is_refused(
    empty: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "001_silent.sql").write_text("create schema silent;")
    monkeypatch.setattr(migrations, "sql_directory", lambda: tmp_path)
    with pytest.raises(MigrationError, match=r"001_silent\.sql"):
        migrate(empty)
    assert empty.execute("select to_regnamespace('silent')").fetchone() == (None,)


def test_what_psql_applied_is_not_run_again(empty: Connection, empty_url: str) -> None:
    for one in migrations.known()[:3]:
        psql: list[str | Path] = [
            bin_dir() / "psql",
            "-1",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            one.path,
            empty_url,
        ]
        subprocess.run(psql, check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert migrate(empty) == VERSIONS[3:]


def test_the_roles_can_be_granted_again_and_again(empty: Connection) -> None:
    migrate(empty, outbox_only=True)
    assert migrations.grant_roles(empty)
    assert migrations.grant_roles(empty)


def test_an_older_version_takes_from_the_roles_nothing_that_a_newer_one_granted(
    empty: Connection,
) -> None:
    """Also where the newer one migrated after the older one had looked."""
    migrate(empty, outbox_only=True)
    empty.execute(FUTURE, [VERSIONS[-1]])
    with pytest.raises(MigrationError, match="999 future"):
        migrations.grant_roles(empty)


def test_the_command_says_who_may_connect_from_now_on(empty: Connection, empty_url: str) -> None:
    first, again = (
        outbox_relay("migrate", "--outbox-only", environment={"DATABASE_URL": empty_url})
        for _ in range(2)
    )
    (told,) = [line for line in first.stdout.splitlines() if "PUBLIC" in line]
    assert f"grant connect on database {empty.info.dbname} to" in told
    assert (again.returncode, "PUBLIC" in again.stdout) == (0, False)
    may = "select has_database_privilege('public', current_database(), 'CONNECT')"
    assert empty.execute(may).fetchone() == (False,)


RECEIVED = """
    select count(*) from pg_inherits where inhparent = 'sale.received_webhook'::regclass
"""


def test_a_relay_that_makes_partitions_is_waited_for(empty: Connection, empty_url: str) -> None:
    """Else the table of the received webhooks would be there without any."""
    migrate(empty, outbox_only=True)
    with psycopg.connect(empty_url) as relay, ThreadPoolExecutor(1) as pool:
        relay.execute("select outbox.make_partitions()")
        ran = pool.submit(migrate, empty)
        wait_until_it_waits(empty_url, empty.info.backend_pid)
        relay.rollback()
        ran.result(60)
    assert empty.execute(RECEIVED).fetchone() == (2,)


# For longer than any function of the schema waits for a lock to make a partition.
WAITS = """
    select max(clock_timestamp() - waitstart) > interval '300 ms'
    from pg_locks where pid = %s and not granted
"""


def wait_until_it_waits(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as session:

        def it_waits() -> None:
            assert session.execute(WAITS, (pid,)).fetchone() == (True,)

        eventually(it_waits)


SHORT = "select set_config('lock_timeout', '200ms', true)"


def test_one_that_waits_for_another_in_vain_says_so(
    empty: Connection, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty)
    monkeypatch.setattr(migrations, "TIMEOUT", SHORT)
    with psycopg.connect(empty_url) as other:
        other.execute(migrations.LOCK)
        with pytest.raises(MigrationError, match="let another `outbox-relay migrate` end"):
            migrate(empty)


def test_who_locks_the_table_of_migrations_keeps_none_for_ever(
    empty: Connection, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute, and the command then says that the doctor names the session."""
    migrate(empty)
    monkeypatch.setattr(migrations, "TIMEOUT", SHORT)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(empty_url) as other:
        other.execute("lock table outbox.migration in access exclusive mode")
        ran = pool.submit(migrate, empty)
        try:
            with pytest.raises(errors.LockNotAvailable):
                ran.result(10)
        finally:
            other.rollback()


def test_the_grants_wait_for_a_relay_at_its_maintenance(empty: Connection, empty_url: str) -> None:
    """A partition that it drops meanwhile would make them fail."""
    migrate(empty)
    with psycopg.connect(empty_url) as relay, ThreadPoolExecutor(1) as pool:
        relay.execute("select outbox.hold_maintenance()")
        granted = pool.submit(migrations.grant_roles, empty)
        wait_until_it_waits(empty_url, empty.info.backend_pid)
        relay.rollback()
        assert granted.result(60)
