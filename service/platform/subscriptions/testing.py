"""POST /v1/subscriptions/{id}/test: a message to see whether the endpoint takes one."""

from typing import LiteralString

import msgspec

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.fields import Id
from service.platform.permission import require_http
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class Sent(msgspec.Struct, frozen=True, rename="camel"):
    """A message that is on its way."""

    message_id: Id


TEST: LiteralString = "select outbox.send_test(%(id)s)::text"


async def send_test(call: Call[None, NoQuery]) -> Sent:
    """Queues one message of type `outbox.test` for this subscription alone."""

    async def work(transaction: Transaction) -> Sent:
        await require_http(transaction, call.caller, call.id)
        sent = await send(transaction, call.id)
        await note(transaction, call, "subscription.test", call.id, f"message {sent.message_id}")
        return sent

    return await call.database.run(work)


async def send(transaction: Transaction, subscription_id: int) -> Sent:
    """Queues it for this subscription."""
    message_id = await transaction.value(str, TEST, {"id": subscription_id})
    assert message_id is not None
    return Sent(message_id)
