"""The set of the tests of queues: connectors to a real ElasticMQ, by way of a proxy that fails."""

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from local.elasticmq import ACCOUNT, REGION, Queues
from tests.fault_proxy import FaultProxy
from tests.relay.push.stage import AT_ONCE, NEVER_OPENS, PushStage
from tests.sql.log import one

KEY_ID, SECRET = "AKIATEST", "a secret of tests"
CONNECT = "select outbox.connect(%s, 'orders', 'sqs', %s, shards => %s)"

EMPTY: Mapping[str, str] = MappingProxyType({})


class Arrival(NamedTuple):
    """A message of a queue, as a consumer has it."""

    body: str
    attributes: dict[str, str]
    group: str | None
    deduplication_id: str | None
    order: str

    @property
    def key(self) -> str:
        return self.attributes["idempotency-key"]


class QueueStage:
    """A migrated database, and queues that are reached by way of `proxy`."""

    def __init__(self, stage: PushStage, server: Queues, proxy: FaultProxy) -> None:
        self.stage = stage
        self.db = stage.db
        self.database_url = stage.database_url
        self.server = server
        self.proxy = proxy
        self._test = uuid.uuid4().hex[:12]

    @property
    def environment(self) -> dict[str, str]:
        """Of a relay that may send to each queue here, as the connectors' credential."""
        return {
            "RELAY_ALLOW_HOSTS": f"127.0.0.1:{self.proxy.port}/{ACCOUNT}",
            "RELAY_CREDENTIALS_SHOP_USERNAME": KEY_ID,
            "RELAY_CREDENTIALS_SHOP_PASSWORD": SECRET,
        }

    def name(self, base: str) -> str:
        """Of a queue that no other test has."""
        stem, dot, kind = base.partition(".")
        return f"{stem}-{self._test}{dot}{kind}"

    def url(self, base: str) -> str:
        """Of this queue behind the proxy."""
        return f"http://127.0.0.1:{self.proxy.port}/{ACCOUNT}/{self.name(base)}"

    def connect(
        self,
        base: str = "orders.fifo",
        *,
        name: str = "shop",
        make: bool = True,
        shards: int = 1,
        attributes: Mapping[str, str] = EMPTY,
        **given: object,
    ) -> int:
        """Makes a queue, and a connector of channel `orders` to it. Its id.

        `given` are settings, over AT_ONCE and NEVER_OPENS; None leaves one out.
        """
        if make:
            self.server.create_queue(self.name(base), **attributes)
        settings = {
            "queue_url": self.url(base),
            "region": REGION,
            "credentials": "shop",
            "retry": AT_ONCE,
            "breaker": NEVER_OPENS,
        } | given
        kept = {key: value for key, value in settings.items() if value is not None}
        made: int = one(self.db, CONNECT, name, Jsonb(kept), shards)
        return made

    def arrived(self, base: str = "orders.fifo") -> list[Arrival]:
        """Takes all that the queue has, in its order."""
        url, found = self.server.url(self.name(base)), list[Arrival]()
        while True:
            said = self.server.ask(
                "ReceiveMessage",
                QueueUrl=url,
                MaxNumberOfMessages=10,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages = said.get("Messages") or []
            if not messages:
                return found
            found += map(_arrival, messages)
            entries = [
                {"Id": str(place), "ReceiptHandle": one["ReceiptHandle"]}
                for place, one in enumerate(messages)
            ]
            self.server.ask("DeleteMessageBatch", QueueUrl=url, Entries=entries)

    def waiting_reason(self, name: str = "shop") -> str | None:
        reason: str | None = one(
            self.db, "select waiting_reason from outbox.subscription where name = %s", name
        )
        return reason

    def dead(self) -> list[tuple[Any, ...]]:
        """(idempotency key, reason, detail) of each dead letter."""
        return self.db.execute(
            "select idempotency_key, reason, detail from outbox.dead_letter order by message_id"
        ).fetchall()


def _arrival(message: dict[str, Any]) -> Arrival:
    own = message.get("MessageAttributes") or {}
    system = message.get("Attributes") or {}
    return Arrival(
        message["Body"],
        {name: value["StringValue"] for name, value in own.items()},
        system.get("MessageGroupId"),
        system.get("MessageDeduplicationId"),
        system.get("SequenceNumber", ""),
    )
