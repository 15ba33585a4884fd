"""The servers of one test run: each started when first asked for, shared by all workers."""

import json
import os
import shutil
import socket
import socketserver
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

import psycopg
from psycopg import sql

from local import aot_cache
from local.elasticmq import ElasticMQ
from local.kafka import Kafka
from local.postgres import Postgres
from local.server import StartError
from local.stack import temporary_directory

ServerName = Literal[
    "postgres_14",
    "postgres_15",
    "postgres_16",
    "postgres_17",
    "postgres_18",
    "kafka",
    "elasticmq",
]
SERVER_NAMES: tuple[ServerName, ...] = get_args(ServerName)

SQL_DIRECTORY = Path(__file__).parent.parent / "sql"
TEMPLATE = "template_migrated"
# No test pulls the plug of the machine, and a killed server needs no fsync to keep its data. The
# databases are small, and each drop of one looks through all buffers.
POSTGRES_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
}
START_TIMEOUT_SECONDS = 300
# Each test has a database of its own, some four hundred small files: in memory they take a tenth of
# the time. Where there is little of it, a disk will do.
MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 8 << 30


def place() -> Path | None:
    """Where the servers' data goes; None: where temporary files go."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MIN_FREE_BYTES
    return MEMORY if has_room and "TMPDIR" not in os.environ else None


class Servers:
    """Starts servers on demand and tells their address, in this process and to its workers.

    The process that began the run owns them: a worker may end before its siblings do, and its
    servers would die with it.
    """

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._directory = self._exit.enter_context(temporary_directory(place()))
        self._started: dict[ServerName, Postgres | Kafka | ElasticMQ] = {}
        self._failed: dict[ServerName, str] = {}
        self._lock = threading.Lock()
        self._listener = Listener(("127.0.0.1", 0), Request)
        self._listener.servers = self
        self.port: int = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, args=[0.1], daemon=True).start()

    def address(self, name: ServerName) -> str:
        """host:port of a server, started on first use. Raises StartError, each time the same."""
        with self._lock:
            if name not in self._started and name not in self._failed:
                try:
                    self._start(name)
                except (StartError, psycopg.Error) as error:
                    self._failed[name] = f"{name}: {error}"
            if name in self._failed:
                raise StartError(self._failed[name])
            return f"127.0.0.1:{self._started[name].port}"

    def _start(self, name: ServerName) -> None:
        if name == "kafka":
            # For this one and the many that tests start.
            aot_cache.provide()
            self._started[name] = Kafka.start(self._directory / name, quick_start=True)
            return
        if name == "elasticmq":
            self._started[name] = ElasticMQ.start(self._directory / f"{name}.log")
            return
        version = int(name.removeprefix("postgres_"))
        directory = self._directory / name
        postgres = Postgres.start(directory, version=version, settings=POSTGRES_SETTINGS)
        self._started[name] = postgres
        make_template(postgres)

    def stop(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        for server in self._started.values():
            server.kill()  # Nothing of theirs is needed any more.
        self._exit.close()


class Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    servers: Servers


class Request(socketserver.StreamRequestHandler):
    """One line in, a server's name; one line out, its address or why there is none."""

    server: Listener

    def handle(self) -> None:
        name = self.rfile.readline().decode().strip()
        try:
            answer = {"address": self.server.servers.address(known(name))}
        except StartError as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def known(name: str) -> ServerName:
    for candidate in SERVER_NAMES:
        if candidate == name:
            return candidate
    raise StartError(f"there is no server {name!r}; there are {', '.join(SERVER_NAMES)}")


def ask(port: int, name: ServerName) -> str:
    """host:port of a server, from the process that owns them. Raises StartError."""
    with socket.create_connection(("127.0.0.1", port), START_TIMEOUT_SECONDS) as connection:
        connection.sendall(f"{name}\n".encode())
        with connection.makefile() as lines:
            answer = json.loads(lines.readline())
    if "error" in answer:
        raise StartError(answer["error"])
    address: str = answer["address"]
    return address


def make_template(postgres: Postgres) -> None:
    """The database that every test's own is a clone of: all migrations and the roles."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    scripts = [*sorted((SQL_DIRECTORY / "migrations").glob("*.sql")), SQL_DIRECTORY / "roles.sql"]
    for script in scripts:
        if script.exists():
            with psycopg.connect(postgres.dsn(TEMPLATE)) as connection:
                connection.execute(script.read_bytes())
