"""Promises of the PgBouncer launcher."""

import os
import shutil
from pathlib import Path

import psycopg
import pytest

from local import debian, pgbouncer
from local.pgbouncer import PgBouncer
from local.server import StartError
from tests.pooled import pooled

pytestmark = pytest.mark.long

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="only Debian's kin have apt")


def test_it_shares_few_connections_among_many_clients(database_url: str) -> None:
    with pooled(database_url, {"default_pool_size": "1"}) as pooler:
        pids = set()
        for _ in range(10):
            with psycopg.connect(pooler.url(database_url)) as session:
                pids |= set(session.execute("select pg_backend_pid()"))
        assert len(pids) == 1


@needs_apt
def test_it_is_fetched_into_the_cache(tmp_path: Path) -> None:
    root = debian.unpacked("pgbouncer", tmp_path)
    assert os.access(root / "usr/sbin/pgbouncer", os.X_OK)
    assert {path.name for path in tmp_path.iterdir()} == {"pgbouncer", "pgbouncer.lock"}


@needs_apt
def test_a_package_that_is_not_there_is_told_in_apt_s_words(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no-such-package"):
        debian.unpacked("no-such-package", tmp_path)


def test_without_apt_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pgbouncer, "SYSTEM_PATH", "")
    monkeypatch.setattr(debian, "cache_dir", lambda: tmp_path)
    with pytest.raises(StartError, match="pgbouncer is not on PATH"):
        PgBouncer(tmp_path, "postgresql://postgres@127.0.0.1:1/db", [], {})
