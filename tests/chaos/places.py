"""Where a campaign happens: real servers, proxies before them, the service and two relays.

And beyond them, where connectors lead: another Kafka, and a queue.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import KafkaError, KafkaException

from local.__main__ import migrate
from local.kafka import Kafka
from local.program import Program, get_status, script
from local.server import Server, free_port
from local.stack import DATABASE, create_database
from tests.chaos import connectors, plan, webhooks
from tests.chaos.connectors import BEYOND_TOPIC, SOURCE
from tests.chaos.queue import Queue
from tests.pair import Pair, replicated
from tests.proxy import Proxy

# A channel with a topic from the start; of one, the topic comes late; of one, it takes little.
PARCELS, AUDIT, BILLING = "chaos.parcels", "chaos.audit", "chaos.billing"
LATE, NARROW, HEARTBEAT = "chaos.late", "chaos.narrow", "chaos.heartbeat"
PAYMENTS = ("orders.lifecycle", "payment.success", "payment.unapplied")
# What comes in from the other Kafka.
INBOUND = "chaos.inbound"
CHANNELS = (PARCELS, AUDIT, BILLING, LATE, NARROW, HEARTBEAT, INBOUND, *PAYMENTS)
NARROW_BYTES = 16_384
PARTITIONS = 4
SHARDS = 2

BARRIER_SECONDS = 3
# Servers are killed, machines are not: nothing is lost that the kernel has.
POSTGRES_SETTINGS = {"fsync": "off"}
# What a process needs of its surroundings, and nothing that would configure it.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
TOPIC_TIMEOUT_SECONDS = 120
WORK_TIMEOUT_SECONDS = 10
LOOK_SECONDS = 0.1


class Subscription(NamedTuple):
    """One cursor set over the log; its topics are the channels with `prefix` before them."""

    name: str
    exactly_once: bool
    prefix: str


SUBSCRIPTIONS = (
    Subscription("kafka", exactly_once=False, prefix=""),
    Subscription("exact", exactly_once=True, prefix="exact."),
)


WORKS = """
select exists (
    select from outbox.checkpoint
    where relay = %s and created_at > clock_timestamp() - make_interval(secs => %s))
"""


class PatientKafka(Kafka):
    """On a busy machine, and with a wire that is cut, a broker takes its time to come back."""

    start_timeout_seconds = 120


class Places(NamedTuple):
    """The addresses here go straight to the servers; relays and service go through the wires.

    Of the two Postgres servers, to that which is the primary just then.
    """

    directory: Path
    pair: Pair
    kafka: Kafka
    other_kafka: Kafka
    queue: Queue
    wires: dict[str, Proxy]
    programs: dict[str, Program]
    # Of each program: it answers there.
    ports: dict[str, int]

    @property
    def service_url(self) -> str:
        """Where customers and providers go."""
        return f"http://127.0.0.1:{self.ports[plan.SERVICE]}"

    def await_work(
        self, program: str, stop: threading.Event, timeout_seconds: float = WORK_TIMEOUT_SECONDS
    ) -> bool:
        """Waits until a program does from now on what it is for; whether in time."""
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < timeout_seconds and not stop.is_set():
            if self._works(program, seconds):
                return True
            stop.wait(LOOK_SECONDS)
        return False

    def _works(self, program: str, seconds: float) -> bool:
        """A relay: it has written a checkpoint within the last `seconds`. The service: it could."""
        path = "/readyz" if program == plan.SERVICE else "/healthz"
        if get_status(f"http://127.0.0.1:{self.ports[program]}{path}") != 200:
            return False
        if program in (plan.SERVICE, plan.ENDPOINT):
            return True
        try:
            with self.connect() as session:
                row = session.execute(WORKS, [program.removeprefix("relay-"), seconds]).fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and bool(row[0])

    @property
    def journal(self) -> Path:
        """What the endpoint has accepted."""
        return self.directory / "endpoint.journal"

    @property
    def database_url(self) -> str:
        """Of the database, as its owner."""
        return self.pair.primary.dsn(DATABASE)

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's."""
        return self.kafka.bootstrap_servers

    def server(self, target: str) -> Server:
        """The process that a target's name means just now."""
        servers: dict[str, Server] = {
            plan.POSTGRES: self.pair.primary,
            plan.KAFKA: self.kafka,
            plan.OTHER_KAFKA: self.other_kafka,
            plan.QUEUE: self.queue,
            **self.programs,
        }
        return servers[target]

    def connect(self) -> psycopg.Connection[Any]:
        """A session in autocommit mode on the primary. Raises psycopg.OperationalError."""
        return psycopg.connect(self.database_url, autocommit=True, connect_timeout=5)

    def make_topics(self, channel: str) -> None:
        """The channel's topic of each subscription. Raises KafkaException."""
        config = {"max.message.bytes": str(NARROW_BYTES)} if channel == NARROW else {}
        for subscription in SUBSCRIPTIONS:
            self._make_topic(subscription.prefix + channel, config)

    def _make_topic(self, topic: str, config: dict[str, str]) -> None:
        """Tries again while Kafka is away: it may be down or frozen just now."""
        deadline = time.monotonic() + TOPIC_TIMEOUT_SECONDS
        while True:
            try:
                self.kafka.create_topic(topic, PARTITIONS, **config)
            except (KafkaException, TimeoutError) as refused:
                error = refused.args[0] if isinstance(refused, KafkaException) else None
                # An answer that was lost: the topic is there.
                if error is not None and error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return


@contextmanager
def places(directory: Path) -> Iterator[Places]:
    """All of it over `directory`, started and at the end stopped. Raises StartError."""
    with ExitStack() as stack:
        pair, kafka, kafka_wire = _servers(directory, stack)
        other_kafka, queue = _beyond(directory, stack)
        wires = {
            plan.POSTGRES_WIRE: pair.address,
            plan.KAFKA_WIRE: stack.enter_context(kafka_wire),
        }
        ports = {name: free_port() for name in (*plan.RELAYS, plan.SERVICE, plan.ENDPOINT)}
        here = Places(directory, pair, kafka, other_kafka, queue, wires, {}, ports)
        create_database(pair.primary, DATABASE)
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        migrate(directory, {**environment, "DATABASE_URL": here.database_url})
        _subscribe(here)
        for channel in CHANNELS:
            if channel != LATE:
                here.make_topics(channel)
        environment["DATABASE_URL"] = wires[plan.POSTGRES_WIRE].url(here.database_url)
        programs = _programs(here, environment)
        with here.connect() as session:
            programs[plan.ENDPOINT] = webhooks.endpoint_program(
                session, ports[plan.ENDPOINT], directory, here.journal
            )
        for name, program in programs.items():
            here.programs[name] = stack.enter_context(program)
            program.launch()
        yield here


def _servers(directory: Path, stack: ExitStack) -> tuple[Pair, Kafka, Proxy]:
    """Postgres, twice, and Kafka, and the proxy that Kafka sends its guests to."""
    kafka_port, back_port, controller_port = free_port(), free_port(), free_port()
    wire = Proxy(back_port)
    controller = f"127.0.0.1:{controller_port}"
    # A client stays on the listener through which it came: the one behind the wire names the wire
    # as its address, and the watchers use the other.
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{kafka_port},WIRED://127.0.0.1:{back_port},"
        f"CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{kafka_port},WIRED://127.0.0.1:{wire.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WIRED:PLAINTEXT,"
        "CONTROLLER:PLAINTEXT",
        "controller.quorum.bootstrap.servers": controller,
        # A busy machine must not make it lose its registration.
        "broker.session.timeout.ms": "3000",
    }

    def start_kafka() -> Kafka:
        return PatientKafka.start(
            directory / "kafka", port=kafka_port, settings=settings, quick_start=True
        )

    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_kafka)
        try:
            pair = stack.enter_context(replicated(directory / "postgres", POSTGRES_SETTINGS))
        finally:
            kafka = starting.result()
            stack.enter_context(kafka)
    return pair, kafka, wire


def _beyond(directory: Path, stack: ExitStack) -> tuple[Kafka, Queue]:
    """Where connectors lead."""
    kafka = PatientKafka.start(
        directory / "kafka-2",
        settings={"broker.session.timeout.ms": "3000"},
        quick_start=True,
    )
    stack.enter_context(kafka)
    for topic in (BEYOND_TOPIC, SOURCE):
        kafka.create_topic(topic, PARTITIONS)
    queue = Queue.start(directory / "elasticmq.log")
    stack.enter_context(queue)
    stack.enter_context(queue.wire)
    return kafka, queue


def _programs(here: Places, environment: dict[str, str]) -> dict[str, Program]:
    relay = {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{here.wires[plan.KAFKA_WIRE].port}",
        "RELAY_BARRIER_SECONDS": str(BARRIER_SECONDS),
        "RELAY_ALLOW_NETWORKS": "127.0.0.1/32",
        **connectors.permission(here.other_kafka, here.queue),
    }
    settings = {
        name: {**relay, "RELAY_NAME": name.removeprefix("relay-"), "RELAY_PORT": str(port)}
        for name, port in here.ports.items()
        if name in plan.RELAYS
    }
    settings[plan.SERVICE] = {"SERVICE_PORT": str(here.ports[plan.SERVICE])}
    return {
        name: Program(
            name,
            [script("outbox-service")] if name == plan.SERVICE else [script("outbox-relay"), "run"],
            log=here.directory / f"{name}.log",
            environment={**environment, **own},
        )
        for name, own in settings.items()
    }


SUBSCRIBE = """
insert into outbox.subscription (name, shards, delivery, settings)
values (%(name)s, %(shards)s, %(delivery)s,
        jsonb_strip_nulls(jsonb_build_object('topic_prefix', %(prefix)s::text)))
"""


def _subscribe(here: Places) -> None:
    """The campaign's subscriptions instead of the default one, before anything is published."""
    with here.connect() as connection:
        connection.execute("delete from outbox.subscription")
        for subscription in SUBSCRIPTIONS:
            connection.execute(
                SUBSCRIBE,
                {
                    "name": subscription.name,
                    "shards": SHARDS,
                    "delivery": "exactly_once" if subscription.exactly_once else "at_least_once",
                    "prefix": subscription.prefix or None,
                },
            )
        # What is too large for the narrow topic is too large for the endpoint.
        port = here.ports[plan.ENDPOINT]
        webhooks.subscribe(connection, port, shards=SHARDS, max_bytes=NARROW_BYTES)
        connectors.connect(
            connection,
            here.other_kafka,
            here.queue,
            to_kafka=PARCELS,
            to_queue=AUDIT,
            inward=INBOUND,
            shards=SHARDS,
        )
