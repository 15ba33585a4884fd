"""POST /v1/subscriptions/{id}/pause and …/resume."""

from typing import LiteralString

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.permission import require_operable
from service.platform.subscriptions.view import Subscription, find
from service.web.access.authorization import Caller
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

PAUSE: LiteralString = """
    update outbox.subscription set paused = true, paused_reason = %(reason)s
    where id = %(id)s and not paused
"""


async def pause(call: Call[None, NoQuery]) -> Subscription:
    """Holds everything from now on; nothing is dropped. Again does nothing."""

    async def work(transaction: Transaction) -> Subscription:
        await hold(transaction, call.caller, call.id)
        await note(transaction, call, "subscription.pause", call.id)
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


async def hold(transaction: Transaction, caller: Caller, subscription_id: int) -> None:
    """Pauses it. Raises Problem where that is not the caller's to do."""
    await require_operable(transaction, caller, subscription_id)
    reason = f"by the API key {caller.name}"
    await transaction.execute(PAUSE, {"id": subscription_id, "reason": reason})


RESUME: LiteralString = """
    update outbox.subscription set paused = false, paused_reason = null
    where id = %(id)s and paused
"""


async def resume(call: Call[None, NoQuery]) -> Subscription:
    """Goes on where it was paused or disabled, in order. Again does nothing."""

    async def work(transaction: Transaction) -> Subscription:
        await go_on(transaction, call.caller, call.id)
        await note(transaction, call, "subscription.resume", call.id)
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


async def go_on(transaction: Transaction, caller: Caller, subscription_id: int) -> None:
    """Resumes it. Raises Problem where that is not the caller's to do."""
    await require_operable(transaction, caller, subscription_id)
    await transaction.execute(RESUME, {"id": subscription_id})
