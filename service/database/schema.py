"""Whether the database has the migrations that this version of the service was written for."""

from typing import LiteralString

from service.database.transaction import Transaction
from service.problems import unavailable

# The newest of sql/migrations but those of the payment example; a test holds them together.
LATEST_MIGRATION = 31
IS_IN: LiteralString = """
    select exists (select from outbox.migration where version = %(version)s)
"""


async def demand_latest(transaction: Transaction) -> None:
    """Raises Problem 503 where `migrate` of this version has yet to run, as in a rolling upgrade.

    A newer schema is none of its concern: it works beside it, or the relays say so.
    """
    if not await transaction.value(bool, IS_IN, {"version": LATEST_MIGRATION}):
        raise unavailable(
            f"The database lacks migration {LATEST_MIGRATION:03}; run outbox-relay migrate."
        )
