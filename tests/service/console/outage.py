"""An outage to be played through: a real relay, an endpoint that is as it is told, and a log.

The endpoint breaks, its breaker opens; it is half mended and refuses one type alone; it is mended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.program import Program, script
from tests.eventually import eventually
from tests.receiver import OK, Reaction, Received, Receiver, respond

CHANNEL = "orders.lifecycle"
POISONED = "order.poisoned"
SETTINGS = {
    "retry": {"initial_delay_seconds": 1, "multiplier": 1, "max_attempts": 60},
    # What is left of a cool-down is not waited for: who mends the endpoint says so.
    "breaker": {"minimum": 5, "cool_down_seconds": 60},
    "client_errors": "dead_letter",
}
# Nothing here goes to Kafka.
WITHOUT_KAFKA = "select outbox.delete_subscription('kafka', true)"
SUBSCRIBE = "select subscription_id from outbox.subscribe('billing', %s, %s, %s)"
PUBLISH = """
    select outbox.publish(%s, %s, json_build_object('order', %s::text), group_key => %s,
                          idempotency_key => %s)
"""
BREAKER = """
    select coalesce((select state from outbox.breaker_state where subscription = 'billing'),
                    'closed')
"""
DEAD = "select count(*) from outbox.dead_letter where redriven_at is null"
UNDELIVERED = "select count(*) from outbox.dead_letter where delivered_at is null"


def _half_mended(request: Received) -> Reaction:
    if request.header("ce-type") == POISONED:
        return respond(422, b"no order of this kind")
    return OK


class Outage:
    """Orders, and where their events go."""

    def __init__(self, database: psycopg.Connection[Any], endpoint: Receiver) -> None:
        self.database = database
        self.endpoint = endpoint
        self.subscription_id = self._one(SUBSCRIBE, CHANNEL, f"{endpoint.url}/in", Jsonb(SETTINGS))

    def publish(self, order: int, type: str = "order.paid") -> int:
        """The id of a message about this order; its idempotency key is in `key`."""
        number = str(order)
        published: int = self._one(PUBLISH, CHANNEL, type, number, number, self.key(order))
        return published

    def key(self, order: int) -> str:
        return f"order-{order}-paid"

    def breaks(self) -> None:
        """Six orders find the endpoint broken, and the breaker opens."""
        self.endpoint.react = respond(503, b"we are down")
        for order in range(1, 7):
            self.publish(order)
        self._until(BREAKER, "open")

    def is_half_mended(self) -> None:
        """All is well, but one message that the endpoint can't take."""
        self.endpoint.react = _half_mended
        self.publish(7, POISONED)

    def until_one_is_dead(self) -> None:
        self._until(DEAD, 1)

    def is_mended(self) -> None:
        self.endpoint.react = OK

    def until_all_is_delivered(self) -> None:
        self._until(UNDELIVERED, 0)
        self._until(BREAKER, "closed")

    def _until(self, question: str, answer: object) -> None:
        def answered() -> None:
            assert self._one(question) == answer

        eventually(answered, 20)

    def _one(self, statement: Any, *parameters: object) -> Any:
        row = self.database.execute(statement, parameters).fetchone()
        return None if row is None else row[0]


@contextmanager
def outage(database_url: str, directory: Path) -> Iterator[Outage]:
    """On this database, whose only relay runs until the end."""
    relay = Program(
        "outbox-relay",
        [script("outbox-relay"), "run"],
        log=directory / "outbox-relay.log",
        environment={
            "DATABASE_URL": database_url,
            "RELAY_NAME": "relay-1",
            "RELAY_ALLOW_NETWORKS": "127.0.0.1/32",
        },
    )
    with Receiver() as endpoint, psycopg.connect(database_url, autocommit=True) as database:
        database.execute(WITHOUT_KAFKA)
        played = Outage(database, endpoint)
        relay.launch()
        try:
            yield played
        finally:
            relay.kill()
            print(relay.log_tail(16_000))
