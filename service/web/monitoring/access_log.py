"""One measurement per request, and one log line, but for those of a crowd without keys."""

import time
from collections.abc import Callable, Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.fair_turns import asks_for
from service.web.monitoring.health import PROBES
from service.web.monitoring.metrics import Metrics
from service.web.monitoring.refusals import Lines, Refusals

log = structlog.get_logger()

# A label must not grow with every method that a client makes up.
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# Measured, but not logged while they go well: any client may ask, and it has no consequence.
QUIET = PROBES | {
    "/openapi.json",
    "/catalogue",
    "/catalogue/asyncapi.json",
    "/catalogue/types/{type}",
    "/catalogue/types/{type}/versions/{version}",
    "/console/static/{name}",
}
WEBSOCKET_STATUS = {"websocket.accept": 101, "websocket.close": 403}


class Access:
    """ASGI middleware, outermost but for Starlette's own fault handler.

    `routes` gives the path template of an endpoint: a label must not grow with every order's id.
    Answers 401 have no line of their own: `unauthorized` counts them. What else a caller without a
    valid key is refused has as many lines a second as Lines allows, and `refused` counts the rest:
    clients without a key don't decide how fast the log grows.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        unauthorized: Refusals,
        refused: Refusals,
        routes: Mapping[Callable[..., object], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._unauthorized = unauthorized
        self._refused = refused
        self._lines = Lines()
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and looks at the status of what comes back."""
        if scope["type"] != "lifespan":
            asks_for.set(f"address {_address(scope)}")
        if scope["type"] == "websocket":
            await self._app(scope, receive, self._watch_socket(scope, send))
            return
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
            seconds = time.perf_counter() - started
            self._measure(scope, status, seconds)
            self._tell(scope, status, milliseconds=round(seconds * 1000, 2))

    def _watch_socket(self, scope: Scope, send: Send) -> Send:
        """A WebSocket is told once, when it is taken or refused."""
        is_told = False

        async def watch(message: Message) -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                self._tell(scope, WEBSOCKET_STATUS.get(message["type"]) or message["status"])
            await send(message)

        return watch

    def _route(self, scope: Scope) -> str:
        return self._routes.get(scope.get("endpoint", _unmatched), "unmatched")

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._route(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        if route == "unmatched":
            method = "any"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.latency.labels(route).observe(seconds)

    def _tell(self, scope: Scope, status: int, **figures: float) -> None:
        route = self._route(scope)
        if route in QUIET and status < 400:
            return
        if status == 401:
            self._unauthorized.note(_address(scope), route, status)
        elif status >= 400 and not _has_key(scope) and not self._lines.take():
            self._refused.note(_address(scope), route, status)
        else:
            method = scope.get("method", "WEBSOCKET")
            log.info("request", method=method, path=scope["path"], status=status, **figures)


def _address(scope: Scope) -> str:
    address, _ = scope.get("client") or ("unknown", 0)
    return str(address)


def _has_key(scope: Scope) -> bool:
    """Whether the request has shown a valid key by now; see Operation."""
    return "caller" in scope.get("state", {})


def _unmatched() -> None:
    """Stands for the endpoint of a path that has none."""
