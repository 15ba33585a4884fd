"""/healthz, /readyz, /metrics: what the platform around the service asks."""

from typing import LiteralString

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from service.database import Database, Transaction
from service.metrics import Metrics
from service.problems import unavailable

# Asked all day long by machines, under whatever address a process happens to have.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


async def is_alive(_: Request) -> Response:
    """GET /healthz: the process turns. A database that is away is no reason to restart it."""
    return Response(b'{"status":"alive"}', media_type="application/json")


class Schema(msgspec.Struct, frozen=True):
    """Is what the service writes to there?"""

    is_there: bool


FIND_SCHEMA: LiteralString = """
    select to_regclass('sale.received_webhook') is not null
       and to_regclass('outbox.message') is not null as is_there
"""


async def is_ready(request: Request) -> Response:
    """GET /readyz: the database answers and has been migrated; else Problem 503."""

    async def find_schema(transaction: Transaction) -> Schema | None:
        return await (await transaction.select(Schema, FIND_SCHEMA, {})).fetchone()

    database: Database = request.state.database
    schema = await database.run(find_schema)
    if schema is None or not schema.is_there:
        raise unavailable("The database has no schema yet; run outbox-relay migrate.")
    return Response(b'{"status":"ready"}', media_type="application/json")


async def show_metrics(request: Request) -> Response:
    """GET /metrics: Prometheus' text format."""
    metrics: Metrics = request.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
