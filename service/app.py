"""The service of the event platform and of payments: its routes, its life, and `outbox-service`."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypedDict

import structlog
from prometheus_client import disable_created_metrics
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from service import commands, openapi, settings
from service.database.pool import Database
from service.payments import api as payments_api
from service.payments import retention, switch
from service.payments.live.sockets import watch_order
from service.payments.live.updates import Live
from service.payments.switch import Gate, Payments
from service.platform import api as platform_api
from service.problems import Problem, on_fault, on_http_exception, on_problem
from service.process import logs, terminal
from service.settings import Settings, SettingsError
from service.web import health
from service.web.access import Access
from service.web.authorization import Authorization
from service.web.bodies import Bodies, UntilAnswered
from service.web.hosts import Hosts
from service.web.metrics import Metrics
from service.web.refusals import Refusals
from service.web.routes import routes as operation_routes
from service.web.server.server import Server

POOL_CLOSE_SECONDS = 2.0
CANCEL_AGAIN_SECONDS = 0.1

log = structlog.get_logger()


class State(TypedDict):
    """What every request finds in `request.state`."""

    settings: Settings
    bodies: Bodies
    database: Database
    authorization: Authorization
    metrics: Metrics
    live: Live
    payments: Payments
    look: Callable[[], Awaitable[None]]


def routes() -> Sequence[BaseRoute]:
    """Every path of the service."""
    return [
        *operation_routes(payments_api.OPERATIONS),
        WebSocketRoute(f"{payments_api.SALE}/ws", watch_order),
        *operation_routes(platform_api.OPERATIONS),
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


def create_app(settings: Settings) -> Starlette:
    """The ASGI app; it connects to the database when it is started, and again whenever it must."""
    database = Database(settings)
    metrics = Metrics(database)
    live = Live(database, metrics, settings.max_connections // 2)
    payments = Payments(database, settings.payments)
    unauthorized, refused = Refusals("unauthorized"), Refusals("refused")
    bodies = Bodies()
    state = State(
        settings=settings,
        bodies=bodies,
        database=database,
        authorization=Authorization(database),
        metrics=metrics,
        live=live,
        payments=payments,
        look=payments.look,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        await database.pool.open()
        reader = asyncio.create_task(live.run(), name="live reader")
        turning = asyncio.create_task(
            retention.keep(database, payments, settings.received_days), name="webhook retention"
        )
        try:
            yield state
        finally:
            unauthorized.flush()
            refused.flush()
            await end(reader, turning)
            await database.pool.close(POOL_CLOSE_SECONDS)

    table = routes()
    paths = {
        route.endpoint: route.path for route in table if isinstance(route, Route | WebSocketRoute)
    }
    app = Starlette(
        routes=table,
        lifespan=lifespan,
        middleware=[
            Middleware(
                Access, metrics=metrics, unauthorized=unauthorized, refused=refused, routes=paths
            ),
            Middleware(UntilAnswered, bodies=bodies),
            Middleware(Hosts, names=settings.hosts, probes=health.PROBES),
            Middleware(Gate, payments=payments),
        ],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            Exception: on_fault,
        },
    )
    # A redirect would have no body, and a Location made of whatever Host was sent.
    app.router.redirect_slashes = False
    app.state.database = database
    app.state.live = live
    app.state.metrics = metrics
    return app


def main() -> None:
    """`outbox-service`: serves until SIGTERM or SIGINT, or does one `keys` command.

    Exit codes: 0 done, 1 fault, 2 settings or arguments.
    """
    terminal.prepare()
    arguments = commands.parser().parse_args()
    try:
        configured, ignored = settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"outbox-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if arguments.noun is not None:
        raise SystemExit(commands.run(arguments, configured))
    if configured.payments and switch.are_missing(configured.database_url):
        print(f"outbox-service: {switch.NOT_THERE}", file=sys.stderr)
        raise SystemExit(2)
    serve(configured, ignored)


def serve(configured: Settings, ignored: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then exits with 0; with 1 if it could not start."""
    logs.configure()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    for name in ignored:
        log.warning("ignored, Kubernetes injects it", setting=name)
    # An empty WEBHOOK_SECRET is none: whoever deployed it should see what came of it.
    log.info("webhook signatures", required=configured.webhook_secret is not None)
    log.info("keys of endpoints' signatures at rest", sealed=configured.secret_key is not None)
    app = create_app(configured)
    # uvicorn raises the signal that stopped it once more when it is done; it has been obeyed.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: None)
    server = Server(
        app,
        configured,
        app.state.metrics,
        refuse_one=app.state.database.refuse_one,
        stopping=app.state.live.close,
    )
    try:
        server.run()
    except SystemExit:
        # A port that is taken, say: uvicorn has logged it, and has statuses of its own.
        raise SystemExit(1) from None
    raise SystemExit(0 if server.started else 1)


if __name__ == "__main__":
    main()
