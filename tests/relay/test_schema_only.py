"""A dump that came without rows: what happened is said, and what to do, and that repairs it."""

import re
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from local.postgres_binaries import bin_dir
from relay.database import Connection
from tests.conftest import PostgresServer
from tests.relay.operating import outbox_relay, publish


def copy(source_url: str, target_url: str, *options: str) -> None:
    """By pg_dump and psql, as an operator does."""
    dump = [str(bin_dir() / "pg_dump"), *options, source_url]
    dumped = subprocess.run(dump, check=True, capture_output=True, timeout=60)
    restore = [str(bin_dir() / "psql"), "-q", "-1", "-v", "ON_ERROR_STOP=1", target_url]
    subprocess.run(restore, check=True, input=dumped.stdout, stdout=subprocess.DEVNULL, timeout=60)


@pytest.fixture
def target_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.clone("template0") as url:
        yield url


@pytest.fixture
def target(target_url: str) -> Iterator[Connection]:
    with psycopg.connect(target_url, autocommit=True) as connection:
        yield connection


def environment(url: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.mark.long
@pytest.mark.parametrize("command", ["migrate", "status", "run", "rebase", "doctor"])
def test_a_schema_without_its_rows_is_told_by_every_command(
    command: str, database_url: str, target_url: str
) -> None:
    copy(database_url, target_url, "--schema-only")
    told = outbox_relay(command, environment=environment(target_url))
    said = " ".join((told.stdout + told.stderr).split())
    assert told.returncode == 1
    assert "outbox.migration is empty, as after a restore of `pg_dump --schema-only`" in said
    assert "restore the dump's data as well, or begin anew: `drop schema outbox, sale" in said
    assert "already exists" not in said


def test_what_it_says_makes_a_database_that_works(
    database_url: str, target_url: str, target: Connection
) -> None:
    copy(database_url, target_url, "--schema-only")
    said = outbox_relay("migrate", environment=environment(target_url)).stderr
    drop, command = re.findall(r"`([^`]+)`", said)[1:]
    target.execute(drop.encode())
    assert command == "outbox-relay migrate"
    assert outbox_relay("migrate", environment=environment(target_url)).returncode == 0
    target.execute("update outbox.subscription set paused = true")
    ran = outbox_relay("run", "--once", environment=environment(target_url))
    assert ran.returncode == 0, ran.stderr


def test_the_dumps_data_mends_it_as_well(
    database_url: str, target_url: str, target: Connection
) -> None:
    with psycopg.connect(database_url, autocommit=True) as source:
        source.execute("update outbox.subscription set paused = true")
        publish(source)
    copy(database_url, target_url, "--schema-only")
    copy(database_url, target_url, "--data-only", "--disable-triggers")
    ran = outbox_relay("run", "--once", environment=environment(target_url))
    assert ran.returncode == 0, ran.stderr
    orders = "select count(*) from outbox.message where channel = 'orders'"
    assert target.execute(orders).fetchone() == (1,)


@pytest.mark.long
def test_without_the_row_of_the_installation_rebase_makes_it(
    database_url: str, target_url: str, target: Connection
) -> None:
    copy(database_url, target_url, "--exclude-table-data=outbox.installation")
    target.execute("update outbox.subscription set paused = true")
    refused = outbox_relay("run", "--once", environment=environment(target_url))
    assert (refused.returncode, "outbox-relay rebase" in refused.stderr) == (1, True)
    assert outbox_relay("rebase", environment=environment(target_url)).returncode == 0
    ran = outbox_relay("run", "--once", environment=environment(target_url))
    assert ran.returncode == 0, ran.stderr
