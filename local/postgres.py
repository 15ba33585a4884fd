"""A real PostgreSQL, of any version from 14 to 18."""

import functools
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from local.postgres_binaries import bin_dir
from local.server import Server, StartError, free_port, run
from local.unprivileged import require_way_in, unprivileged

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_prepared_transactions": "10",
}


class Postgres(Server):
    """One PostgreSQL server on 127.0.0.1 over TCP.

    Every user of this machine can reach it. With `passfile`, only who may read that file gets in:
    it holds a random password (https://www.postgresql.org/docs/current/libpq-pgpass.html).
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # Fast shutdown: sessions are ended, a checkpoint is written.
    death_signal = signal.SIGINT

    def __init__(
        self,
        data_dir: Path,
        version: int,
        port: int,
        settings: Mapping[str, str],
        *,
        with_password: bool,
    ):
        self.data_dir = data_dir
        self.passfile = data_dir.with_name(data_dir.name + ".pgpass") if with_password else None
        self.version = version
        self.port = port
        self.settings = {**SETTINGS, **settings, "port": str(port)}
        self.log = data_dir.with_name(data_dir.name + ".log")
        self._prefix, self.user_id = unprivileged()

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        version: int = 18,
        port: int | None = None,
        settings: Mapping[str, str] = {},
        with_password: bool = False,
    ) -> Self:
        """Start a server over `data_dir`, made on first use, and wait until it answers.

        `settings` are postgresql.conf parameters and win over the defaults here. Without
        `with_password` it trusts everybody on this machine. Raises StartError with the end of the
        server's log, or where `data_dir` holds something else.
        """
        data_dir, port = data_dir.absolute(), port or free_port()
        server = cls(data_dir, version, port, settings, with_password=with_password)
        server._make_cluster()
        server.launch()
        return server

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of one database of this server.

        It names the password's file and not the password: command lines are everybody's to read.
        """
        url = f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return url if self.passfile is None else f"{url}?passfile={quote(str(self.passfile))}"

    def command(self) -> Sequence[str | Path]:
        parameters = [f"--{name}={value}" for name, value in self.settings.items()]
        postgres = bin_dir(self.version) / "postgres"
        return [*self._prefix, postgres, "-D", self.data_dir, *parameters]

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.dsn(), connect_timeout=2) as connection:
                row = connection.execute("show data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        # Another server that took the port would answer too.
        return row is not None and Path(row[0]) == self.data_dir

    def _make_cluster(self) -> None:
        """initdb into a folder beside, then rename: killed half-way, it leaves no half cluster."""
        marker = self.data_dir / "PG_VERSION"
        if marker.exists():
            found = marker.read_text().strip()
            if found != str(self.version):
                raise StartError(f"{self.data_dir} is PostgreSQL {found}'s, not {self.version}'s")
            if self.passfile is not None and not self.passfile.exists():
                raise StartError(
                    f"{self.data_dir} has no password file {self.passfile}: begin with new data"
                )
            return
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{self.data_dir.name}-", dir=self.data_dir.parent))
        try:
            self._initdb(new)
            new.rename(self.data_dir)
        except OSError as error:
            raise StartError(f"{self.data_dir} can't become a data directory: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _initdb(self, directory: Path) -> None:
        if self.user_id is not None:
            require_way_in(self.name, self.user_id, [self.data_dir, bin_dir(self.version)])
            os.chown(directory, self.user_id, self.user_id)
        # C.UTF-8 sorts by code point on every machine; only Linux has it under this name.
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        initdb = bin_dir(self.version) / "initdb"
        options = ["-U", "postgres", "-E", "UTF8", f"--locale={locale}", "-N"]
        command: list[str | Path] = [*self._prefix, initdb, "-D", directory, *options]
        with ExitStack() as exit_stack:
            if self.passfile is None:
                command += ["--auth=trust"]
            else:
                password = exit_stack.enter_context(self._new_password(self.passfile))
                command += ["--auth=scram-sha-256", f"--pwfile={password}"]
            run("initdb", command, self.log, timeout_seconds=120, user_id=self.user_id)

    @contextmanager
    def _new_password(self, passfile: Path) -> Iterator[Path]:
        """Writes a new password to `passfile`, and for so long to a file that initdb can read."""
        password = secrets.token_urlsafe(32)
        with tempfile.NamedTemporaryFile("w", dir=passfile.parent) as for_initdb:
            for_initdb.write(password)
            for_initdb.flush()
            if self.user_id is not None:
                os.chown(for_initdb.name, self.user_id, self.user_id)
            passfile.unlink(missing_ok=True)
            # Closed to others from the start: who has opened a file may go on reading it.
            with open(passfile, "x", opener=functools.partial(os.open, mode=0o600)) as kept:
                kept.write(f"*:*:*:*:{password}\n")
            yield Path(for_initdb.name)
