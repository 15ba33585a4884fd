"""uvicorn with bounded connections, and what it does when it starts and stops."""

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from service.settings import Settings
from service.web.monitoring.metrics import Metrics
from service.web.server.connections import Connections
from service.web.server.http import HttpConnection
from service.web.server.websocket import MAX_MESSAGE_BYTES, WebSocketConnection

# SIGTERM to exit: in-flight requests, then sockets and pool, within the 10 s that are promised.
GRACEFUL_SHUTDOWN_SECONDS = 6
# Descriptors that are no connection's: listeners, logs, the event loop, files being read.
RESERVED_DESCRIPTORS = 64
TICKS_PER_SWEEP = 5

if sys.platform != "win32":
    import resource

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn, but connections are bounded, and `stopping` is called before they are closed.

    `refuse_one` ends a request that only waits, and returns whether there was one.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        *,
        refuse_one: Callable[[], bool],
        stopping: Callable[[], None],
    ) -> None:
        others = settings.pool_size + RESERVED_DESCRIPTORS
        limit = max(1, _descriptors(settings.max_connections + others) - others)
        if limit < settings.max_connections:
            log.warning(
                "fewer connections than SERVICE_MAX_CONNECTIONS: too few open files are allowed",
                max_connections=settings.max_connections,
                connections=limit,
            )
        self._bound = Connections(limit, settings.client_timeout_seconds, metrics, refuse_one)
        self._stopping = stopping
        super().__init__(_config(app, settings, self._bound))
        metrics.connections.set_function(lambda: len(self.server_state.connections))

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % TICKS_PER_SWEEP == 0:
            connections = cast(Any, self.server_state.connections)
            self._bound.sweep(connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells the service's own clients first, then does what uvicorn does."""
        self._stopping()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def _config(app: ASGIApp, settings: Settings, bound: Connections) -> uvicorn.Config:
    http = partial(HttpConnection, connections_bound=bound)
    websocket = partial(WebSocketConnection, connections_bound=bound)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # By default uvicorn believes every program on this machine whose request it is.
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        http=cast(type[asyncio.Protocol], http),
        ws=cast(type[asyncio.Protocol], websocket),
        ws_max_size=MAX_MESSAGE_BYTES,
        # Updates are small, and compressing them would cost tens of kilobytes a client.
        ws_per_message_deflate=False,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
    )


def _descriptors(wanted: int) -> int:
    """How many descriptors this process may have: `wanted`, or fewer where its limit is lower.

    Raises the limit as far as that takes, and as it is allowed to.
    """
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
