"""A FIFO queue in an ElasticMQ that keeps its messages in memory, and the queue's only consumer."""

import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from local.elasticmq import ACCOUNT, ElasticMQ
from tests.proxy import Proxy

NAME = "chaos.fifo"
AT_ONCE = 10
AGAIN_SECONDS = 0.1


class Received(NamedTuple):
    """A message as it was received; `life`: after how many kills of the server."""

    life: int
    group_key: bytes
    idempotency_key: str | None
    checksum: int


class Queue(ElasticMQ):
    """Its clients come by way of `wire`. `received` is all that was taken from it, in its order.

    A kill would take with it what it holds, and nothing of that could be told from what is lost. So
    it is received first: what its clients were told to be in it has been seen.
    """

    start_timeout_seconds = 120

    def __init__(self, log: Path, port: int) -> None:
        super().__init__(log, port)
        self.wire = Proxy(port)
        self.received: list[Received] = []
        self._seen: set[str] = set()
        self._life = 0
        self._turn = threading.RLock()

    @property
    def address(self) -> str:
        """Of the queue, by way of the wire."""
        return f"http://127.0.0.1:{self.wire.port}/{ACCOUNT}/{NAME}"

    def launch(self) -> None:
        # Nobody asks for the queue before it is there.
        with self._turn:
            super().launch()
            self.create_queue(NAME)
        self.wire.flow()

    def kill(self) -> None:
        # From here on nobody is told anything: what is not received now is sent again.
        self.wire.stall()
        with self._turn:
            try:
                if self.running:
                    self._drain()
            finally:
                super().kill()
                self._life += 1
        self.wire.cut()

    def drain(self) -> None:
        """Receives and deletes until it is empty. Raises OSError, HTTPException, ValueError."""
        with self._turn:
            self._drain()

    def _drain(self) -> None:
        while messages := self._receive():
            # What was not deleted in time comes again, and is the same message.
            self.received += [
                _received(self._life, message)
                for message in messages
                if message["MessageId"] not in self._seen
            ]
            self._seen.update(message["MessageId"] for message in messages)
            entries = [
                {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                for place, message in enumerate(messages)
            ]
            self.ask("DeleteMessageBatch", QueueUrl=self.url(NAME), Entries=entries)

    def _receive(self) -> list[dict[str, Any]]:
        said = self.ask(
            "ReceiveMessage",
            QueueUrl=self.url(NAME),
            MaxNumberOfMessages=AT_ONCE,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = said.get("Messages") or []
        return messages


def _received(life: int, message: dict[str, Any]) -> Received:
    key = message["MessageAttributes"].get("idempotency-key")
    return Received(
        life,
        message["Attributes"]["MessageGroupId"].encode(),
        key and key["StringValue"],
        crc32(message["Body"].encode()),
    )


class Consumer(threading.Thread):
    """Takes all that comes; `fault` is what ended it before its time."""

    def __init__(self, queue: Queue, stop: threading.Event) -> None:
        super().__init__(name="consumer of the queue", daemon=True)
        self.fault: BaseException | None = None
        self._queue = queue
        self._stop_asked = stop

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(AGAIN_SECONDS):
                try:
                    self._queue.drain()
                except (OSError, HTTPException):
                    # It is killed, or frozen, and comes back.
                    continue
            self._queue.drain()
        except BaseException as fault:
            self.fault = fault
