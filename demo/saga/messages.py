"""Commands and replies: what they say, and the channels by which they go."""

from typing import Literal
from uuid import UUID

import msgspec

from demo.consumers.inbox import Connection

# Half of the channels go through Kafka, half through signed webhooks: from whom to whom.
KAFKA = {
    "inventory.commands": ("order", "inventory"),
    "fulfilment.commands": ("order", "fulfilment"),
    "payment.replies": ("payment", "order"),
}
WEBHOOKS = {
    "payment.commands": ("order", "payment"),
    "inventory.replies": ("inventory", "order"),
    "fulfilment.replies": ("fulfilment", "order"),
}
ROUTES = KAFKA | WEBHOOKS

# Who undoes is in a hurry. Order holds within one priority, so a compensation may well overtake
# its action: then its tombstone refuses the action.
ACTION_PRIORITY = 3
COMPENSATION_PRIORITY = 1

Outcome = Literal["done", "refused", "failed"]


class Command(msgspec.Struct, frozen=True, rename="camel"):
    """Do a step of this order, or undo it. Whatever the attempt, it may have one effect.

    Order and step together are the key of the effect; the key of the message has the attempt too.
    """

    order_id: UUID
    step: str
    name: str
    attempt: int
    product: str
    quantity: int
    amount_cents: int


class Reply(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a command. Only an action is `refused`, only a compensation has `failed`."""

    order_id: UUID
    step: str
    command: str
    attempt: int
    outcome: Outcome
    reason: str = ""


PUBLISH = """
    select outbox.publish(
        %(channel)s, %(type)s, %(payload)s::json, group_key => %(group_key)s,
        priority => %(priority)s, idempotency_key => %(idempotency_key)s)
"""


def send(connection: Connection, service: str, command: Command, *, priority: int) -> None:
    """Publishes a command, in the open transaction."""
    _publish(
        connection,
        f"{service}.commands",
        command.name,
        msgspec.json.encode(command),
        command.order_id,
        priority,
        f"{command.order_id}:{command.name}:{command.attempt}",
    )


def answer(
    connection: Connection, service: str, command: Command, outcome: Outcome, reason: str = ""
) -> None:
    """Publishes the reply to a command, in the open transaction, which did what it says."""
    reply = Reply(command.order_id, command.step, command.name, command.attempt, outcome, reason)
    _publish(
        connection,
        f"{service}.replies",
        f"{command.name}.{outcome}",
        msgspec.json.encode(reply),
        command.order_id,
        ACTION_PRIORITY,
        None,
    )


def _publish(
    connection: Connection,
    channel: str,
    type: str,
    payload: bytes,
    order_id: UUID,
    priority: int,
    idempotency_key: str | None,
) -> None:
    connection.execute(
        PUBLISH,
        {
            "channel": channel,
            "type": type,
            "payload": payload.decode(),
            "group_key": str(order_id),
            "priority": priority,
            "idempotency_key": idempotency_key,
        },
    )
