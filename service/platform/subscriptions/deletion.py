"""DELETE /v1/subscriptions/{id}."""

from collections.abc import Awaitable, Callable
from typing import LiteralString

import msgspec
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import Action, fields_of, note
from service.platform.permission import require_http
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.operations.operation import Call


class DeleteQuery(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What is not delivered stands in the way of a DELETE unless it is to be lost."""

    discard_undelivered: bool = False


# It waits for runs, and takes row by row with it what was never delivered.
DELETE_TIMEOUT_SECONDS = 60.0


UNSUBSCRIBE: LiteralString = "select outbox.unsubscribe(%(id)s, %(discard)s)"


# Raises Problem where the caller may not end this subscription.
Requirement = Callable[[Transaction, Caller, int], Awaitable[object]]


async def delete_subscription(call: Call[None, DeleteQuery]) -> None:
    """Ends a subscription that has nothing left to deliver, or whose rest is to be lost."""
    await delete(call, require_http, "subscription.delete")


async def delete(call: Call[None, DeleteQuery], require: Requirement, action: Action) -> None:
    """The same of what `require` lets be ended."""
    parameters = {"id": call.id, "discard": call.query.discard_undelivered}

    async def work(transaction: Transaction) -> None:
        await require(transaction, call.caller, call.id)
        await note(transaction, call, action, call.id, fields_of(call.query))
        await transaction.execute(UNSUBSCRIBE, parameters)

    try:
        await call.database.walk(work, timeout_seconds=DELETE_TIMEOUT_SECONDS)
    except sqlstates.DependentObjectsStillExist as error:
        detail = (
            f"{error.diag.message_primary}: let them arrive, dead letters by a redrive, or lose "
            "them with ?discardUndelivered=true."
        )
        raise Problem(409, detail, field="discardUndelivered") from None
