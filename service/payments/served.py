"""Whether this service serves payments: the webhook, the orders API and its WebSocket."""

from typing import LiteralString

import msgspec
import psycopg
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from service.database.blocking import connect, transaction
from service.database.pool import Database
from service.database.schema import demand_latest
from service.database.transaction import Transaction
from service.problems import Problem, refuse, unavailable

PATHS = "/v1/api/sale/"
START_SECONDS = 5.0

log = structlog.get_logger()


class Schema(msgspec.Struct, frozen=True):
    """Which tables the database has: those of the platform, those of payments."""

    outbox: bool
    sale: bool


# From the catalog's rows: to look a table up by its name takes rights as well.
FIND: LiteralString = """
    select coalesce(bool_or(schemaname = 'outbox' and tablename = 'message'), false) as outbox,
           coalesce(bool_or(schemaname = 'sale' and tablename = 'received_webhook'), false) as sale
    from pg_catalog.pg_tables where schemaname in ('outbox', 'sale')
"""
NOT_THERE = (
    "SERVICE_PAYMENTS is on, and the database has no tables for payments: run "
    "`outbox-relay migrate` without --outbox-only, or set SERVICE_PAYMENTS=off"
)


class Payments:
    """Served as SERVICE_PAYMENTS says; without it, where the database has their tables.

    What the database has is found out by the first request that has to know, since it may be away
    when the service starts, and again by every /readyz, since `migrate` may come later.
    """

    def __init__(self, database: Database, setting: bool | None) -> None:
        self._database = database
        self._setting = setting
        self._found: bool | None = None

    async def are_served(self) -> bool:
        """Raises Problem 503 where the database has to say it, and is away."""
        if self._setting is not None:
            return self._setting
        if self._found is None:
            await self.look()
        return bool(self._found)

    async def look(self) -> None:
        """Raises Problem 503 unless the database has the tables of what is served, migrated."""

        async def find(transaction: Transaction) -> Schema:
            schema = await transaction.one(Schema, FIND, {})
            if schema is None or not schema.outbox:
                raise unavailable("The database has no schema yet; run outbox-relay migrate.")
            await demand_latest(transaction)
            return schema

        schema = await self._database.run(find)
        if self._setting and not schema.sale:
            raise unavailable(f"{NOT_THERE}.")
        if self._setting is None and self._found is not schema.sale:
            log.info("payments", served=schema.sale, reason="what the database has")
        self._found = schema.sale


class Gate:
    """ASGI middleware: where payments are not served, nothing is at their paths (404)."""

    def __init__(self, app: ASGIApp, payments: Payments) -> None:
        self._app = app
        self._payments = payments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is not for payments, or may be."""
        if scope["type"] in ("http", "websocket") and scope["path"].startswith(PATHS):
            try:
                if not await self._payments.are_served():
                    raise Problem(404, "Not Found")
            except Problem as problem:
                await refuse(problem, scope, receive, send)
                return
        await self._app(scope, receive, send)


def are_missing(database_url: str) -> bool:
    """Whether the database answers, and has the platform's tables without those of payments."""
    try:
        with connect(database_url) as opened, transaction(opened, START_SECONDS):
            row = opened.execute(FIND).fetchone()
    except psycopg.Error:
        return False
    return row is not None and tuple(row) == (True, False)
