"""Two real servers, one the streaming standby of the other, behind an address that switches."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from local.postgres import Postgres
from local.server import free_port
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.servers import TEMPLATE, make_template

FENCE = "alter system set default_transaction_read_only = on"
UNFENCE = "alter system reset default_transaction_read_only"
RELOAD = "select pg_reload_conf()"
CAUGHT_UP = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
WRITTEN = "select pg_current_wal_lsn()::text"


class Pair:
    """`address` goes to the primary until it is switched; its open connections stay then."""

    def __init__(self, primary: Postgres, standby: Postgres, address: Proxy) -> None:
        self.primary = primary
        self.standby = standby
        self.address = address
        self.url = address.url(primary.dsn(TEMPLATE))

    def fence(self) -> None:
        """The primary takes no more writes, and keeps its sessions: a switchover's first step."""
        _tell(self.primary, FENCE)
        _tell(self.primary, RELOAD)

    def unfence(self) -> None:
        """Takes that back."""
        _tell(self.primary, UNFENCE)
        _tell(self.primary, RELOAD)

    def demote(self) -> None:
        """The primary comes back as a standby that nobody feeds."""
        self.primary.stop()
        (self.primary.data_dir / "standby.signal").touch()
        self.primary.launch()

    def switch(self) -> None:
        """The address leads to the standby, which is none yet to write to."""
        ((written,),) = _tell(self.primary, WRITTEN)

        def caught_up() -> None:
            assert _tell(self.standby, CAUGHT_UP, written) == [(True,)]

        eventually(caught_up, 30)
        self.address.switch(self.standby.port)

    def promote(self) -> None:
        """The standby becomes the primary; returns when it is."""
        _tell(self.standby, "select pg_promote()")


def _tell(server: Postgres, statement: LiteralString, *parameters: object) -> list[Any]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def replicated(directory: Path) -> Iterator[Pair]:
    """Starts both; kills them in the end."""
    first = Postgres.start(directory / "first")
    make_template(first)
    first.stop()
    shutil.copytree(first.data_dir, directory / "second")
    (directory / "second" / "standby.signal").touch()
    settings = {"primary_conninfo": f"host=127.0.0.1 port={first.port} user=postgres"}
    try:
        first.launch()
        second = Postgres.start(directory / "second", port=free_port(), settings=settings)
        try:
            with Proxy(first.port) as address:
                yield Pair(first, second, address)
        finally:
            second.kill()
    finally:
        first.kill()
