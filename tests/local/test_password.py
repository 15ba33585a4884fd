"""Other users of this machine do not get into what `make run` and `make demo` start."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local import unprivileged
from local.postgres import Postgres
from local.postgres_binaries import bin_dir
from local.server import StartError
from local.stack import Stack, temporary_directory


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """What both start, with its Kafka somewhere else."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    with Stack.start(tmp_path / "a folder") as started:
        yield started


def without_password(url: str) -> str:
    """The URL as another user knows it, who can't read the password."""
    parts = urlsplit(url)
    return f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"


def passwords(stack: Stack) -> list[Path]:
    assert stack.postgres is not None
    return sorted(stack.postgres.data_dir.parent.glob("*.pgpass"))


def test_its_owner_gets_in_by_the_url_and_no_user_without_the_password(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    for password in ("", "postgres", "outbox"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(without_password(stack.database_url), password=password)


def test_no_role_and_no_database_gets_in_without_a_password(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("create role reader login")
    for database in ("postgres", "template1", "replication"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(without_password(stack.database_url), user="reader", dbname=database)


def test_only_its_owner_can_read_the_password(stack: Stack) -> None:
    [password] = passwords(stack)
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == os.geteuid()
    secret = password.read_text().strip().rpartition(":")[2]
    assert len(secret) >= 32
    # Neither a command line nor a log nor any other file has it.
    assert secret not in stack.database_url
    assert stack.postgres is not None
    directory = stack.postgres.data_dir.parent
    holders = [path for path in directory.iterdir() if path.is_file() and path != password]
    assert [path for path in holders if secret in path.read_text(errors="replace")] == []


def test_each_stack_has_a_password_of_its_own(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "other"):
        with Postgres.start(tmp_path / name, with_password=True) as postgres:
            assert postgres.passfile is not None
            found.add(postgres.passfile.read_text())
    assert len(found) == 2


def test_the_same_data_open_with_the_same_password_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Postgres.start(tmp_path / "data", with_password=True) as postgres:
            psycopg.connect(postgres.dsn()).close()


def test_data_whose_password_is_lost_are_refused_with_the_mend(tmp_path: Path) -> None:
    Postgres.start(tmp_path / "data").stop()
    with pytest.raises(StartError, match="begin with new data"):
        Postgres.start(tmp_path / "data", with_password=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")
def test_a_server_under_another_user_has_a_password_too(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = [path for path in bin_dir().parents if not path.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"other users can't enter {closed[0]}, where the binaries are")
    monkeypatch.setattr(unprivileged, "unshare_permitted", lambda: False)
    with (
        temporary_directory() as directory,
        Postgres.start(directory / "data", with_password=True) as postgres,
    ):
        psycopg.connect(postgres.dsn()).close()
        assert postgres.passfile is not None
        assert postgres.passfile.stat().st_uid != unprivileged.UNPRIVILEGED_ID
