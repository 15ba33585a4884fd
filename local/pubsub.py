"""A server in place of Google Cloud Pub/Sub, see local/pubsub_server.py; asked as Google's is."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import grpc
from google.api_core.exceptions import AlreadyExists
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local.server import Server, free_port

ROOT = Path(__file__).parent.parent
PROJECT = "local-project"
ANSWER_TIMEOUT_SECONDS = 30.0
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_reconnect_backoff_ms", 200)]


class PubSub(Server):
    """On 127.0.0.1; it takes whoever comes, unless it is told otherwise."""

    name = "Pub/Sub"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(self, directory: Path, port: int, tls: tuple[int, Path] | None) -> None:
        self.log = directory / "pubsub.log"
        self.port = port
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._journal = directory / "pubsub.journal"
        self._tls = tls
        self.tls_port = 0 if tls is None else tls[0]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    @classmethod
    def start(
        cls, directory: Path, *, port: int | None = None, tls: tuple[int, Path] | None = None
    ) -> Self:
        """Start it and wait until it answers. Raises StartError with the end of its log.

        `tls`: a second port, and the PEM file of a key and its certificates.
        """
        server = cls(directory.absolute(), port or free_port(), tls)
        server.launch()
        return server

    def command(self) -> Sequence[str | Path]:
        tls = (
            ()
            if self._tls is None
            else ("--tls-port", str(self._tls[0]), "--tls-pem", self._tls[1])
        )
        return [
            *(sys.executable, "-m", "local.pubsub_server"),
            *("--port", str(self.port), "--journal", self._journal, *tls),
        ]

    def answers(self) -> bool:
        try:
            self._own("Seen", b"", 1.0)
        except grpc.RpcError:
            return False
        return True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create_topic(self, topic: str) -> str:
        """Of PROJECT, if it is not there; returns its whole name."""
        name = f"projects/{PROJECT}/topics/{topic}"
        with suppress(AlreadyExists):
            self.publisher.create_topic(name=name, timeout=ANSWER_TIMEOUT_SECONDS)
        return name

    def subscribe(self, topic: str, *, ordered: bool = True) -> str:
        """A subscription to a topic of PROJECT, if it is not there; returns its whole name."""
        name = f"projects/{PROJECT}/subscriptions/{topic}"
        made = types.Subscription(
            name=name,
            topic=f"projects/{PROJECT}/topics/{topic}",
            enable_message_ordering=ordered,
            ack_deadline_seconds=60,
        )
        with suppress(AlreadyExists):
            self.subscriber.create_subscription(made, timeout=ANSWER_TIMEOUT_SECONDS)
        return name

    def pull(self, subscription: str, most: int = 1000) -> list[Any]:
        """Takes and acknowledges messages, by Google's own client."""
        asked: dict[str, Any] = {"timeout": ANSWER_TIMEOUT_SECONDS, "retry": None}
        said = self.subscriber.pull(subscription=subscription, max_messages=most, **asked)
        ids = [one.ack_id for one in said.received_messages]
        if ids:
            self.subscriber.acknowledge(subscription=subscription, ack_ids=ids, **asked)
        return [one.message for one in said.received_messages]

    def plan(self, **wish: object) -> None:
        """How it answers from now on; without a wish it does what it is asked.

        `codes`: those of the next requests that publish, one each and "" for none, or `always` one;
        with `only`, of this ordering key. A `fail_share` of them fails, and of a `lose_share` the
        answer is lost, by `seed`. Each takes `delay_seconds`, or with `slow` those to this topic.
        One with the data `refuse` is invalid. GetTopic has the code `get_topic`, TestIamPermissions
        grants `permissions` (None: there is no such call). `authorized`: a token has to be there.
        """
        self._own("Fail", json.dumps(wish).encode())

    def seen(self) -> list[dict[str, Any]]:
        """The requests that published since the last time."""
        found: list[dict[str, Any]] = json.loads(self._own("Seen", b""))
        return found

    def _own(self, method: str, request: bytes, seconds: float = ANSWER_TIMEOUT_SECONDS) -> bytes:
        call = self._channel.unary_unary(f"/local.PubSub/{method}")
        answer: bytes = call(request, timeout=seconds)
        return answer

    def __exit__(self, *fault: object) -> None:
        super().__exit__(*fault)
        self._channel.close()
