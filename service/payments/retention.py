"""The table of received webhooks: partitions made ahead of time, and dropped by age."""

import asyncio
from typing import LiteralString

import psycopg
import structlog

from service.database.pool import Database
from service.database.transaction import Transaction
from service.payments.served import Payments
from service.problems import Problem

log = structlog.get_logger()

# Between two rounds of one process, and after one that failed.
ROUND_SECONDS = 3600.0
RETRY_SECONDS = 60.0

# Returns how many partitions were made or dropped.
TURN: LiteralString = "select sale.turn_received(%(days)s)"


async def keep(database: Database, payments: Payments, received_days: int) -> None:
    """Until it is cancelled. Of several processes each may do it; they don't wait for each other.

    Where the database is away or refuses, again a minute later; what other sessions lock is left
    for the next hour. Meanwhile webhooks are recorded all the same, since one partition is made
    ahead. Where it is missing, the relay's maintenance says so.
    """

    async def work(transaction: Transaction) -> int | None:
        return await transaction.value(int, TURN, {"days": received_days})

    while True:
        try:
            turned = await database.run(work) if await payments.are_served() else None
        except (Problem, psycopg.Error) as fault:
            log.warning("partitions of webhooks not turned", reason=str(fault))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if turned:
            log.info("partitions of webhooks turned", partitions=turned)
        await asyncio.sleep(ROUND_SECONDS)
