"""The set of the tests of topics: connectors to a server that stands in place of Pub/Sub."""

import itertools
import json
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from local.pubsub import PROJECT, PubSub
from tests.relay.push.stage import AT_ONCE, NEVER_OPENS, PushStage
from tests.sql.log import one

CONNECT = "select outbox.connect(%s, 'orders', 'pubsub', %s, shards => %s)"
INSERT = """
insert into outbox.message (channel, type, group_key, idempotency_key, headers, payload)
values ('orders', 'order.paid', %s, %s, %s, %s)
"""

_numbers = itertools.count(1)


class Arrival(NamedTuple):
    """A message of a topic, as Google's client gives it."""

    data: bytes
    attributes: dict[str, str]
    ordering_key: str

    @property
    def key(self) -> str:
        return self.attributes["idempotency-key"]


class TopicStage:
    """A migrated database, and topics of `server`."""

    def __init__(self, stage: PushStage, server: PubSub) -> None:
        self.stage = stage
        self.db = stage.db
        self.database_url = stage.database_url
        self.server = server
        self._number = next(_numbers)
        self._subscriptions: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Of a relay that may send to each topic here."""
        return {"RELAY_ALLOW_HOSTS": f"127.0.0.1:{self.server.port}/projects/{PROJECT}"}

    def name(self, base: str) -> str:
        """Of a topic that no other test has."""
        return f"{base}-{self._number}"

    def make(self, base: str = "orders") -> None:
        """A topic, and a subscription that keeps its order."""
        self.server.create_topic(self.name(base))
        self._subscriptions[base] = self.server.subscribe(self.name(base))

    def connect(
        self,
        base: str = "orders",
        *,
        name: str = "shop",
        make: bool = True,
        shards: int = 1,
        **given: object,
    ) -> int:
        """Makes a topic, and a connector of channel `orders` to it. Its id.

        `given` are settings, over AT_ONCE and NEVER_OPENS; None leaves one out.
        """
        if make:
            self.make(base)
        settings = {
            "project": PROJECT,
            "topic": self.name(base),
            "endpoint": self.server.endpoint,
            "retry": AT_ONCE,
            "breaker": NEVER_OPENS,
        } | given
        kept = {key: value for key, value in settings.items() if value is not None}
        made: int = one(self.db, CONNECT, name, Jsonb(kept), shards)
        return made

    def publish(
        self,
        key: str,
        payload: bytes = b"{}",
        *,
        group: str | None = "g",
        headers: dict[str, str] | None = None,
    ) -> None:
        own = None if headers is None else json.dumps(headers)
        self.db.execute(INSERT, [group, key, own, payload])

    def arrived(self, base: str = "orders") -> list[Arrival]:
        """Takes all that the topic's subscription has, in its order."""
        found = list[Arrival]()
        while messages := self.server.pull(self._subscriptions[base]):
            found += [Arrival(m.data, dict(m.attributes), m.ordering_key) for m in messages]
        return found

    def keys(self, base: str = "orders") -> list[str]:
        """The idempotency keys that arrived."""
        return [arrival.key for arrival in self.arrived(base)]

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
