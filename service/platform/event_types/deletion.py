"""DELETE /v1/event-types/{type}: of a type that nobody published."""

from typing import LiteralString

from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.event_types.refusal import refused
from service.platform.event_types.view import require
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

# The log is looked through, from where it was when the type was registered.
TIMEOUT_SECONDS = 60.0
DROP: LiteralString = "select outbox.drop_event_type(%(type)s)"


async def delete_event_type(call: Call[None, NoQuery]) -> None:
    """Deletes an event type with its versions, if no message of it was published."""
    type_ = call.ids["type"]

    async def work(transaction: Transaction) -> None:
        await require(transaction, call.caller, type_)
        await transaction.execute(DROP, {"type": type_})
        await note(transaction, call, "event_type.delete", type_)

    try:
        await call.database.walk(work, timeout_seconds=TIMEOUT_SECONDS)
    except sqlstates.CheckViolation as error:
        raise refused(error) from None
