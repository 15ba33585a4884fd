"""A real PgBouncer, from PATH or from Debian's package."""

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.debian import unpacked
from local.server import Server, free_port
from local.unprivileged import require_way_in, unprivileged

# Where packages put it, and the PATH of most users does not go.
SYSTEM_PATH = "/usr/sbin:/usr/local/sbin"
SETTINGS = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "trust",
    "admin_users": "postgres",
    "pool_mode": "transaction",
    "max_client_conn": "500",
    # Of a server that is back again it shall not say for 15 s that it is away.
    "server_login_retry": "0.2",
}


def pgbouncer() -> tuple[Path, dict[str, str]]:
    """The program and the environment that it needs. Raises StartError where it can't be had."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    if found is not None:
        return Path(found), dict(os.environ)
    root = unpacked("pgbouncer")
    libraries = {str(library.parent) for library in root.glob("**/*.so*")}
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}
    return root / "usr/sbin/pgbouncer", environment


class PgBouncer(Server):
    """One PgBouncer on 127.0.0.1 before one server, for every database of it."""

    name = "PgBouncer"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(
        self, directory: Path, server_url: str, logins: Sequence[str], settings: Mapping[str, str]
    ) -> None:
        self.port = free_port()
        self.log = directory / "pgbouncer.log"
        self._ini = directory / "pgbouncer.ini"
        self._program, self.environment = pgbouncer()
        self._prefix, self.user_id = unprivileged()
        if self.user_id is not None:
            require_way_in(self.name, self.user_id, [self._ini, self._program])
        users = directory / "users.txt"
        users.write_text("".join(f'"{login}" ""\n' for login in {"postgres", *logins}))
        settings = {
            **SETTINGS,
            **settings,
            "listen_port": str(self.port),
            "auth_file": str(users),
        }
        server = conninfo_to_dict(server_url)
        self._ini.write_text(
            f"[databases]\n* = host={server['host']} port={server['port']}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in settings.items())
        )

    @classmethod
    def start(
        cls,
        directory: Path,
        server_url: str,
        *,
        logins: Sequence[str] = (),
        settings: Mapping[str, str] = {},
    ) -> Self:
        """Start one before the server of `server_url`, in transaction mode, and wait for it.

        It lets `postgres` and `logins` in, without a password. `settings` are pgbouncer.ini's and
        win over the defaults here. Raises StartError with the end of its log.
        """
        pooler = cls(directory, server_url, logins, settings)
        pooler.launch()
        return pooler

    def command(self) -> Sequence[str | Path]:
        return [*self._prefix, self._program, self._ini]

    def answers(self) -> bool:
        try:
            self.tell("show version")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, url: str, **parameters: str) -> str:
        """The same database by way of this pooler."""
        return make_conninfo(url, host="127.0.0.1", port=self.port, **parameters)

    def tell(self, command: str) -> list[dict[str, Any]]:
        """What its console answers to SHOW, RECONNECT, KILL … Raises psycopg.Error."""
        console = f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer"
        with psycopg.connect(
            console, autocommit=True, connect_timeout=2, row_factory=psycopg.rows.dict_row
        ) as connection:
            cursor = connection.execute(command.encode())
            return cursor.fetchall() if cursor.description else []
