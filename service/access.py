"""One log line and one measurement per request."""

import time
from collections.abc import Callable, Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.health import PROBES
from service.metrics import Metrics
from service.refusals import Refusals

log = structlog.get_logger()

# A label must not grow with every method that somebody makes up.
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Access:
    """ASGI middleware, outermost but for Starlette's own fault handler.

    `routes` gives the path template of an endpoint: a label must not grow with every order's id.
    Answers 401 have no line of their own: `refusals` counts them.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        refusals: Refusals,
        routes: Mapping[Callable[..., object], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._refusals = refusals
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and looks at the status of what comes back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # Nothing sent means that the endpoint raised: the fault handler answers 500.
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._routes.get(scope.get("endpoint", _unmatched), "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        if route == "unmatched":
            method = "any"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.latency.labels(route).observe(seconds)
        # Probes are measured, but not logged while they go well.
        if status == 401:
            address, _ = scope.get("client") or ("unknown", 0)
            self._refusals.note(address, route)
        elif route not in PROBES or status >= 400:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round(seconds * 1000, 2),
            )


def _unmatched() -> None:
    """Stands for the endpoint of a path that has none."""
