"""By which name the functions of the database know a subscription."""

from typing import LiteralString

from service.database.transaction import Transaction
from service.platform.permission import no_subscription

# KEY SHARE makes a rename and a delete wait, but nothing that a run does: replay waits for runs.
NAME: LiteralString = "select name from outbox.subscription where id = %(id)s for key share"


async def lock_name(transaction: Transaction, subscription_id: int) -> str:
    """Its name until the transaction ends; Problem 404 if there is no such subscription."""
    name = await transaction.value(str, NAME, {"id": subscription_id})
    if name is None:
        raise no_subscription()
    return name
