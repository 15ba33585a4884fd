"""Two real servers, one the streaming standby of the other, behind an address that switches."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from local.postgres import Postgres
from local.postgres_binaries import bin_dir
from local.server import free_port, run
from tests.eventually import eventually
from tests.proxy import Proxy

SETTINGS = {
    # A primary that was killed is found again at once, and still has what the standby lacks.
    "wal_retrieve_retry_interval": "100ms",
    "wal_keep_size": "256MB",
}
COPY_TIMEOUT_SECONDS = 120
MAX_SECONDS = 30
# A transaction that began before the fence may take so long to end by itself.
GRACE_SECONDS = 1.0

FENCE = "alter system set default_transaction_read_only = on"
UNFENCE = "alter system reset default_transaction_read_only"
RELOAD = "select pg_reload_conf()"
FENCED = "select current_setting('default_transaction_read_only') = 'on'"
NOW = "select clock_timestamp()"
END_OLDER = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and xact_start < %s
"""
# The end of a segment is written out, and with it whatever was committed without waiting for that.
WRITTEN = "select pg_switch_wal()::text"
CAUGHT_UP = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"


class Pair:
    """`address` goes to the primary until it is switched; its open connections stay then."""

    def __init__(self, primary: Postgres, standby: Postgres, address: Proxy) -> None:
        self.primary = primary
        self.standby = standby
        self.address = address

    def url(self, database: str) -> str:
        """Of a database by way of the address."""
        return self.address.url(self.primary.dsn(database))

    def fence(self) -> None:
        """The primary takes no more writes, and keeps its sessions: a switchover's first step."""
        self._reload(FENCE, fenced=True)

    def unfence(self) -> None:
        """Takes that back."""
        self._reload(UNFENCE, fenced=False)

    def _reload(self, change: LiteralString, *, fenced: bool) -> None:
        _tell(self.primary, change)
        _tell(self.primary, RELOAD)

        def in_force() -> None:
            assert _tell(self.primary, FENCED) == [(fenced,)]

        # A new session has its settings from the postmaster, which has told all others by then:
        # each of them learns of it before it looks at its next statement.
        eventually(in_force, MAX_SECONDS)

    def end_transactions(self) -> None:
        """Behind the fence: what began before it ends within a second, or is ended.

        The fence makes a transaction read-only as it begins, so the older ones may write still, and
        commit: those too that have no xid yet. They are all over when this returns, and the younger
        ones can't write, so everything that ever commits here lies before what `switch` waits for.
        The second is also for the statement that was read before the fence and had not begun.
        """
        time.sleep(GRACE_SECONDS)
        ((now,),) = _tell(self.primary, NOW)

        def over() -> None:
            assert _tell(self.primary, END_OLDER, now) == [], "a session does not end"

        eventually(over, MAX_SECONDS)

    def demote(self) -> None:
        """The primary comes back as a standby that receives no WAL."""
        self.primary.stop()
        (self.primary.data_dir / "standby.signal").touch()
        self.primary.launch()

    def switch(self) -> None:
        """The address leads to the standby, which has all by then and can't be written to yet."""
        ((written,),) = _tell(self.primary, WRITTEN)

        def caught_up() -> None:
            assert _tell(self.standby, CAUGHT_UP, written) == [(True,)], "the standby lags behind"

        eventually(caught_up, MAX_SECONDS)
        self.address.switch(self.standby.port)

    def promote(self) -> None:
        """The standby becomes the primary; returns when it is. The former one stays as it was."""
        _tell(self.standby, "select pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self) -> None:
        """The former primary is stopped, and comes back as the standby with a copy of all data."""
        former = self.standby
        former.stop()
        shutil.rmtree(former.data_dir)
        _copy(self.primary, former.data_dir)
        former.launch()


def _tell(server: Postgres, statement: LiteralString, *parameters: object) -> list[Any]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def _copy(primary: Postgres, data_dir: Path) -> None:
    """A standby's data: it says whom to follow. Raises StartError."""
    data_dir.mkdir(mode=0o700)
    if primary.user_id is not None:
        os.chown(data_dir, primary.user_id, primary.user_id)
    tool = bin_dir(primary.version) / "pg_basebackup"
    options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
    run(
        "pg_basebackup",
        [tool, "-d", primary.dsn(), "-D", data_dir, *options],
        data_dir.with_name(data_dir.name + ".log"),
        timeout_seconds=COPY_TIMEOUT_SECONDS,
        user_id=primary.user_id,
    )


@contextmanager
def replicated(directory: Path, settings: Mapping[str, str] = {}) -> Iterator[Pair]:
    """Starts both over `directory`; kills them in the end. Raises StartError."""
    settings = {**SETTINGS, **settings}
    first = Postgres.start(directory / "first", settings=settings)
    try:
        _copy(first, directory / "second")
        second = Postgres.start(directory / "second", port=free_port(), settings=settings)
        try:
            with Proxy(first.port) as address:
                yield Pair(first, second, address)
        finally:
            second.kill()
    finally:
        first.kill()
