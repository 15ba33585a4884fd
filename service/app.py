"""The service of the event platform and of payments: its routes and its life."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, TypedDict

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from service import openapi
from service.checking.checker import Checker
from service.computing import Computing
from service.console.catalogue.counts import Counts
from service.console.minutes import Minutes
from service.console.routes import CATALOGUE, CONSOLE
from service.database.pool import Database
from service.payments import api as payments_api
from service.payments import retention
from service.payments.live.clients import Live
from service.payments.live.sockets import watch_order
from service.payments.served import Gate, Payments
from service.platform import api as platform_api
from service.problems import Problem, on_fault, on_http_exception, on_problem
from service.settings import Settings
from service.web.access.authorization import Authorization
from service.web.access.hosts import Hosts
from service.web.bodies.decoding import Decoding
from service.web.bodies.held_bodies import Bodies, UntilAnswered
from service.web.monitoring import health
from service.web.monitoring.access_log import Access
from service.web.monitoring.metrics import Metrics
from service.web.monitoring.refusals import Refusals
from service.web.operations.routes import routes as operation_routes
from service.web.server.answers import Measured

if TYPE_CHECKING:
    from service.spans import Spans

POOL_CLOSE_SECONDS = 2.0
CANCEL_AGAIN_SECONDS = 0.1

log = structlog.get_logger()


class State(TypedDict):
    """What every request finds in `request.state`."""

    settings: Settings
    bodies: Bodies
    database: Database
    decoding: Decoding
    authorization: Authorization
    metrics: Metrics
    live: Live
    payments: Payments
    counts: Counts
    minutes: Minutes
    checker: Checker
    computing: Computing
    look: Callable[[], Awaitable[None]]
    spans: "Spans | None"


def routes(*, console: bool) -> Sequence[BaseRoute]:
    """Every path of the service, with the console's or without."""
    return [
        *operation_routes(payments_api.OPERATIONS),
        WebSocketRoute(f"{payments_api.SALE}/ws", watch_order),
        *operation_routes(platform_api.OPERATIONS),
        *CATALOGUE,
        *(CONSOLE if console else ()),
        Route("/healthz", health.answer_alive),
        Route("/readyz", health.answer_ready),
        Route("/metrics", health.show_metrics),
        Route("/openapi.json", openapi.show_document),
    ]


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancels them until they have ended.

    Once is not always enough: a statement that is interrupted may end with the database's error in
    place of the cancellation, and a loop that survives such errors goes on.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)


def create_app(settings: Settings, spans: "Spans | None" = None) -> Starlette:
    """The ASGI app; it connects to the database when it is started, and again whenever it must."""
    database = Database(settings, spans)
    metrics = Metrics(database)
    payments = Payments(database, settings.payments)
    state = State(
        settings=settings,
        bodies=Bodies(),
        database=database,
        decoding=Decoding(database),
        authorization=Authorization(database),
        metrics=metrics,
        live=Live(database, metrics, settings.max_connections // 2),
        payments=payments,
        counts=Counts(database),
        minutes=Minutes(database),
        checker=Checker(),
        computing=Computing(),
        look=payments.look,
        spans=spans,
    )
    table = routes(console=settings.console)
    unauthorized, refused = Refusals("unauthorized"), Refusals("refused")
    app = Starlette(
        routes=table,
        lifespan=_lifespan(state, unauthorized, refused),
        middleware=_middleware(state, unauthorized, refused, table),
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            Exception: on_fault,
        },
    )
    # A redirect would have no body, and a Location made of whatever Host was sent.
    app.router.redirect_slashes = False
    app.state.database = database
    app.state.live = state["live"]
    app.state.metrics = metrics
    app.state.computing = state["computing"]
    return app


def _lifespan(
    state: State, unauthorized: Refusals, refused: Refusals
) -> Callable[[Starlette], AbstractAsyncContextManager[State]]:
    """The pool and the tasks beside the requests: begun at the start, ended at the stop."""
    settings, database = state["settings"], state["database"]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        await database.pool.open()
        reader = asyncio.create_task(state["live"].run(), name="live reader")
        turning = asyncio.create_task(
            retention.keep(database, state["payments"], settings.received_days),
            name="webhook retention",
        )
        try:
            yield state
        finally:
            unauthorized.flush()
            refused.flush()
            await end(reader, turning)
            await state["checker"].close()
            state["computing"].close()
            await database.pool.close(POOL_CLOSE_SECONDS)

    return lifespan


def _middleware(
    state: State, unauthorized: Refusals, refused: Refusals, table: Sequence[BaseRoute]
) -> Sequence[Middleware]:
    """What each request passes, the outermost first."""
    paths = {
        route.endpoint: route.path for route in table if isinstance(route, Route | WebSocketRoute)
    }
    return [
        Middleware(
            Access,
            metrics=state["metrics"],
            unauthorized=unauthorized,
            refused=refused,
            routes=paths,
        ),
        Middleware(Measured),
        Middleware(UntilAnswered, bodies=state["bodies"]),
        Middleware(Hosts, names=state["settings"].hosts, probes=health.PROBES),
        Middleware(Gate, payments=state["payments"]),
    ]
