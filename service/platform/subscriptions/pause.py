"""POST /v1/subscriptions/{id}/pause and …/resume."""

from typing import LiteralString

from service.database.transaction import Transaction
from service.platform.permission import kind_of, require_scope
from service.platform.subscriptions.view import Subscription, find
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

PAUSE: LiteralString = """
    update outbox.subscription set paused = true, paused_reason = %(reason)s
    where id = %(id)s and not paused
"""


async def pause(call: Call[None, NoQuery]) -> Subscription:
    """Holds everything from now on; nothing is dropped. Again does nothing."""
    reason = f"by the API key {call.caller.name}"

    async def work(transaction: Transaction) -> Subscription:
        require_scope(call.caller, await kind_of(transaction, call.caller, call.id))
        await transaction.execute(PAUSE, {"id": call.id, "reason": reason})
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


RESUME: LiteralString = """
    update outbox.subscription set paused = false, paused_reason = null
    where id = %(id)s and paused
"""


async def resume(call: Call[None, NoQuery]) -> Subscription:
    """Goes on where it was paused or disabled, in order. Again does nothing."""

    async def work(transaction: Transaction) -> Subscription:
        require_scope(call.caller, await kind_of(transaction, call.caller, call.id))
        await transaction.execute(RESUME, {"id": call.id})
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)
