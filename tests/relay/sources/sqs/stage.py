"""The set of the tests of queues that come in: what was sent there, and what entered."""

import itertools
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from local.elasticmq import ACCOUNT, REGION, Queues
from local.program import Program
from tests.conftest import Spawn
from tests.fault_proxy import FaultProxy
from tests.relay.sources.inward_stage import InwardStage

DELETE = "AmazonSQS.DeleteMessageBatch"
RECEIVE = "AmazonSQS.ReceiveMessage"
HOLD = "AmazonSQS.ChangeMessageVisibilityBatch"
# What a test waits for after each kill.
VISIBILITY_SECONDS = 5

_numbers = itertools.count(1)


class InwardQueues(InwardStage):
    """Where messages of queues enter channels. Relays reach the queues by way of `proxy`."""

    def __init__(self, database_url: str, server: Queues, proxy: FaultProxy, spawn: Spawn) -> None:
        super().__init__(database_url, "127.0.0.1:1", "", spawn)
        self.server = server
        self.proxy = proxy
        self._test = uuid.uuid4().hex[:12]

    def environment(self, **settings: str) -> dict[str, str]:
        """Of a relay that may receive from each queue here."""
        own = {
            "RELAY_ALLOW_HOSTS": f"127.0.0.1:{self.proxy.port}/{ACCOUNT}",
            "RELAY_CREDENTIALS_SHOP_USERNAME": "AKIATEST",
            "RELAY_CREDENTIALS_SHOP_PASSWORD": "a secret of tests",
        }
        return super().environment(**own | settings)

    def name(self, base: str) -> str:
        """Of a queue that no other test has."""
        stem, dot, kind = base.partition(".")
        return f"{stem}-in-{self._test}{dot}{kind}"

    def config(self, base: str, **given: str) -> dict[str, str]:
        """Of a source that reads this queue."""
        url = f"http://127.0.0.1:{self.proxy.port}/{ACCOUNT}/{self.name(base)}"
        return {"queue_url": url, "region": REGION, "credentials": "shop", **given}

    def queue(self, base: str = "orders.fifo", **attributes: str) -> str:
        """Makes a queue; returns its name for the other methods."""
        given = {"VisibilityTimeout": str(VISIBILITY_SECONDS), **attributes}
        self.server.create_queue(self.name(base), **given)
        return base

    def take_in_queue(self, base: str, channel: str = "shop", **given: str) -> None:
        """Makes an inward connector of the channel's name."""
        self.execute(
            "select outbox.connect_in(%s, %s, 'sqs', %s)",
            channel,
            channel,
            Jsonb(self.config(base, **given)),
        )

    def send(
        self,
        base: str,
        bodies: Sequence[str],
        *,
        groups: Sequence[str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """In their order, each of its group."""
        for start in range(0, len(bodies), 10):
            entries: list[dict[str, Any]] = []
            for at, body in enumerate(bodies[start : start + 10], start):
                entry: dict[str, Any] = {"Id": str(at), "MessageBody": body}
                if base.endswith(".fifo"):
                    entry["MessageGroupId"] = groups[at] if groups else "g"
                    entry["MessageDeduplicationId"] = f"{self._test}-{next(_numbers)}"
                if attributes:
                    entry["MessageAttributes"] = {
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in attributes.items()
                    }
                entries.append(entry)
            said = self.server.ask(
                "SendMessageBatch", QueueUrl=self.server.url(self.name(base)), Entries=entries
            )
            assert not said.get("Failed"), said

    def left(self, base: str = "orders.fifo") -> int:
        """How many messages the queue still has, on their way ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = self.server.ask(
            "GetQueueAttributes", QueueUrl=self.server.url(self.name(base)), AttributeNames=names
        )
        return sum(int(said["Attributes"][name]) for name in names)

    def actions(self, action: str) -> int:
        """How many such requests came."""
        return sum(one.action == action for one in self.proxy.requests)

    def once(self) -> None:
        """A relay takes in all that is there."""
        relay: Program = self.relay("--once")
        assert relay.wait(90) == 0, relay.log_tail()
