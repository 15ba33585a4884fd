"""POST /v1/subscriptions/{id}/retry: what waits for its next attempt goes now."""

from typing import LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.fields import GroupKey
from service.platform.permission import require_http
from service.platform.subscriptions.name import lock_name
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class RetryForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Of one group alone, or without it of all."""

    group_key: GroupKey | UnsetType = UNSET


class Retried(msgspec.Struct, frozen=True):
    """How many messages go now, counted up to a million; those behind in their groups follow."""

    messages: int


RETRY: LiteralString = "select outbox.retry(%(name)s, %(group_key)s) as messages"


async def retry(call: Call[RetryForm, NoQuery]) -> Retried:
    """Makes due what waits for its next attempt, in order: for an endpoint that is repaired."""
    group_key = None if call.body.group_key is UNSET else call.body.group_key

    async def work(transaction: Transaction) -> Retried:
        await require_http(transaction, call.caller, call.id)
        name = await lock_name(transaction, call.id)
        parameters = {"name": name, "group_key": group_key}
        retried = await transaction.one(Retried, RETRY, parameters)
        assert retried is not None
        of_group = "" if group_key is None else " of one group"
        detail = f"{retried.messages} messages{of_group}"
        await note(transaction, call, "subscription.retry", call.id, detail)
        return retried

    return await call.database.run(work)
