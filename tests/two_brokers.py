"""Two real brokers of one cluster: the second can be killed, and what lies there alone is gone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from local.kafka import Kafka
from local.server import free_port

FIRST, SECOND = 1, 2
# A busy machine must not make them lose their registration, and a killed one's has to expire.
SETTINGS = {
    "broker.session.timeout.ms": "4000",
    # A partition with too few replicas answers the marker that ends a transaction no sooner than
    # this (30 s by default), and its leader takes no other transaction's marker meanwhile.
    "request.timeout.ms": "5000",
}


class SecondBroker(Kafka):
    """A broker without a controller of its own, in the cluster of a first one."""

    name = "Kafka's second broker"

    def __init__(self, first: Kafka, data_dir: Path) -> None:
        port = free_port()
        settings = {
            **SETTINGS,
            "node.id": str(SECOND),
            "process.roles": "broker",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{first.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        }
        super().__init__(data_dir, port, settings, quick_start=True)
        self._first = first

    def format_options(self) -> list[str]:
        admin = AdminClient({"bootstrap.servers": self._first.bootstrap_servers})
        cluster_id = str(admin.list_topics(timeout=30).cluster_id)
        return ["--no-initial-controllers", "-t", cluster_id]


class TwoBrokers(NamedTuple):
    """The first one has the controller, and all that Kafka notes of groups and transactions."""

    first: Kafka
    second: SecondBroker

    @property
    def bootstrap_servers(self) -> str:
        """Of the one that stays."""
        return self.first.bootstrap_servers

    def create_topic(self, name: str, *replicas: Sequence[int], **config: str) -> None:
        """Makes a topic; of each partition the brokers that hold it, its preferred leader first."""
        assignment = [list(one) for one in replicas]
        topic = NewTopic(
            name, num_partitions=len(assignment), replica_assignment=assignment, config=config
        )
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.create_topics([topic], operation_timeout=30)[name].result(30)


@contextmanager
def two_brokers(directory: Path) -> Iterator[TwoBrokers]:
    """Starts both, and kills them in the end."""
    first = Kafka.start(directory / "first", settings=SETTINGS, quick_start=True)
    with first:
        # Kafka's own topics are made on first use: while there is one broker, they lie on it.
        client = {"bootstrap.servers": first.bootstrap_servers, "transactional.id": "tests"}
        Producer(client).init_transactions(30)
        second = SecondBroker(first, directory / "second")
        second.format()
        second.launch()
        with second:
            yield TwoBrokers(first, second)
            second.kill()
        first.kill()
