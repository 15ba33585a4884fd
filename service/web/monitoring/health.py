"""/healthz, /readyz, /metrics: what the platform around the service asks."""

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from service.fair_turns import asks_for
from service.web.monitoring.metrics import Metrics

# Asked all day long by machines, under whatever address a process happens to have.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


async def answer_alive(_: Request) -> Response:
    """GET /healthz: the process turns. A database that is away is no reason to restart it."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def answer_ready(request: Request) -> Response:
    """GET /readyz: the database answers and has what is served; else Problem 503."""
    look: Callable[[], Awaitable[None]] = request.state.look
    asks_for.set("readiness")
    await look()
    return Response(b'{"status":"ready"}', media_type="application/json")


async def show_metrics(request: Request) -> Response:
    """GET /metrics: Prometheus' text format."""
    metrics: Metrics = request.state.metrics
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
