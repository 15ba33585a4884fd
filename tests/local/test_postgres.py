"""Promises of the Postgres launcher."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local import unprivileged
from local.postgres import Postgres
from local.postgres_binaries import bin_dir
from local.server import StartError
from local.stack import temporary_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to all but one."""
    with temporary_directory() as directory:
        yield directory


def write(postgres: Postgres, value: int) -> None:
    with psycopg.connect(postgres.dsn()) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", [value])


def read(postgres: Postgres) -> list[int]:
    with psycopg.connect(postgres.dsn()) as connection:
        return [row[0] for row in connection.execute("select value from kept order by 1")]


@pytest.mark.long
@pytest.mark.parametrize("version", [18, 17, 16, 15, 14])
def test_data_survives_a_stop_and_a_start(tmp_path: Path, version: int) -> None:
    with Postgres.start(tmp_path / "data", version=version) as postgres:
        write(postgres, 1)
    with Postgres.start(tmp_path / "data", version=version) as postgres:
        assert read(postgres) == [1]
        with psycopg.connect(postgres.dsn()) as connection:
            assert connection.info.server_version // 10_000 == version


@pytest.mark.long
def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / "data") as postgres:
        write(postgres, 1)
        port = postgres.port
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.dsn(), connect_timeout=2)
        postgres.restart()
        assert postgres.port == port
        assert read(postgres) == [1]


@pytest.mark.long
def test_a_frozen_server_answers_again_when_woken(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / "data") as postgres:
        postgres.pause()
        assert not postgres.answers()
        postgres.resume()
        assert postgres.answers()


def test_a_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / "data") as postgres:
        postgres.pause()
        assert postgres.stop() == 0
        assert not postgres.running


def test_a_server_started_from_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    started: list[Postgres] = []
    thread = threading.Thread(target=lambda: started.append(Postgres.start(tmp_path / "data")))
    thread.start()
    thread.join()
    with started[0] as postgres:
        write(postgres, 1)
        assert read(postgres) == [1]


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    Postgres.start(tmp_path / "data", version=16).stop()
    with pytest.raises(StartError, match="is PostgreSQL 16's, not 18's"):
        Postgres.start(tmp_path / "data", version=18)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letter.txt").write_text("mine")
    with pytest.raises(StartError, match="can't become a data directory"):
        Postgres.start(tmp_path / "data")
    assert (tmp_path / "data" / "letter.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.log"]


def test_a_start_that_fails_tells_what_the_server_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgres, "start_attempts", 1)
    with pytest.raises(StartError, match='invalid value for parameter "shared_buffers"'):
        Postgres.start(tmp_path / "data", settings={"shared_buffers": "much"})


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / "data") as postgres:
        with psycopg.connect(postgres.dsn()) as connection:
            row = connection.execute("show listen_addresses").fetchone()
        assert row == ("127.0.0.1",)
        with socket.socket() as other:
            other.settimeout(2)
            with pytest.raises(ConnectionRefusedError):
                other.connect(("127.0.0.2", postgres.port))


@as_root
def test_root_without_user_namespaces_runs_it_as_another_user(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = [path for path in bin_dir().parents if not path.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"other users can't enter {closed[0]}, where the binaries are")
    monkeypatch.setattr(unprivileged, "unshare_permitted", lambda: False)
    with Postgres.start(open_directory / "data") as postgres:
        write(postgres, 1)
        postgres.kill()
        postgres.restart()
        assert read(postgres) == [1]
        assert (open_directory / "data").stat().st_uid == unprivileged.UNPRIVILEGED_ID


@as_root
def test_root_without_user_namespaces_is_told_which_folder_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(unprivileged, "unshare_permitted", lambda: False)
    with pytest.raises(StartError, match=f"can't enter {closed}"):
        Postgres.start(closed / "data")
