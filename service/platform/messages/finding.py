"""GET /v1/messages: the ids of messages with an idempotency key."""

from datetime import datetime
from typing import LiteralString

import msgspec

from service.database.transaction import Transaction
from service.platform.fields import ChannelId, Id, IdempotencyKey, Time
from service.platform.permission import require_channel
from service.problems import Problem
from service.web.operations.operation import Call


class MessageQuery(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """`from` and `to` are about when the message was written.

    A key that is limited to channels names one of these in `channelId`.
    """

    idempotency_key: IdempotencyKey
    channel_id: ChannelId | None = None
    from_: Time | None = msgspec.field(default=None, name="from")
    to: Time | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The latest, the newest first, ten at most.

    No index knows idempotency keys. One that the outbox made says itself when that was; for others
    the latest 100,000 messages of the span are looked at: those since `lookedFrom`, which is null
    where the log has none there. `more`: the span has more.
    """

    message_ids: list[Id]
    looked_from: datetime | None
    more: bool


FIND: LiteralString = """
    select message_ids::text[] as message_ids, looked_from, more
    from outbox.find_messages(
        idempotency_key => %(idempotency_key)s, channel => %(channel)s, from_time => %(from)s,
        upto_time => %(to)s)
"""


async def find_messages(call: Call[None, MessageQuery]) -> Found:
    """Finds messages by their idempotency key; …/trace tells where one is."""
    query = call.query
    if call.caller.channels is not None:
        if query.channel_id is None:
            detail = "This key is limited to channels: name one of them in channelId."
            raise Problem(422, detail, field="channelId")
        require_channel(call.caller, query.channel_id, "channelId")
    parameters = {
        "idempotency_key": query.idempotency_key,
        "channel": query.channel_id,
        "from": query.from_,
        "to": query.to,
    }

    async def work(transaction: Transaction) -> Found:
        found = await transaction.one(Found, FIND, parameters)
        assert found is not None, "outbox.find_messages returns one row"
        return found

    return await call.database.walk(work)
