"""`outbox-service`: serves, or does one `keys` command."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from prometheus_client import disable_created_metrics

from service import keys_command, settings, tracing
from service.app import create_app
from service.computing import SWITCH_SECONDS
from service.payments import served
from service.process import logs, terminal
from service.settings import Settings, SettingsError
from service.web.server.server import Server

DISTRIBUTION = "outbox-relay"
DESCRIPTION = (
    "Serves the event platform's HTTP API, and payments where the database has their tables, until "
    "SIGTERM."
)
EPILOG = """\
It is configured by the environment: DATABASE_URL, and optionally SERVICE_HOST (127.0.0.1),
SERVICE_PORT (8080), SERVICE_HOSTS, SERVICE_PAYMENTS (on or off), SERVICE_CONSOLE (on for pages at
/console), WEBHOOK_SECRET, OUTBOX_SECRET_KEY and more; a name that it does not know stops the start.
The API describes itself at /openapi.json.

Keys are made by the owner of the schema outbox, whose login DATABASE_URL has to be for that:

  outbox-service keys create --name checkout --scope publish --channel 'checkout.*' --expires 90d
  outbox-service keys create --name operator --scope manage --scope operate --scope read
  outbox-service keys create --name ada --scope read --scope payloads --scope manage
  outbox-service keys list
  outbox-service keys revoke 1
"""

log = structlog.get_logger()


def parser() -> argparse.ArgumentParser:
    """What `outbox-service` takes; without arguments it serves."""
    top = argparse.ArgumentParser(
        "outbox-service",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version(DISTRIBUTION)}")
    keys_command.add_to(top.add_subparsers(dest="noun", metavar="keys"))
    return top


def main() -> None:
    """`outbox-service`: serves until SIGTERM or SIGINT, or does one `keys` command.

    Exit codes: 0 done, 1 fault, 2 settings or arguments.
    """
    terminal.prepare()
    arguments = parser().parse_args()
    try:
        configured, ignored = settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"outbox-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if arguments.noun is not None:
        raise SystemExit(keys_command.run(arguments, configured))
    if configured.payments and served.are_missing(configured.database_url):
        print(f"outbox-service: {served.NOT_THERE}", file=sys.stderr)
        raise SystemExit(2)
    serve(configured, ignored)


def serve(configured: Settings, ignored: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then exits with 0; with 1 if it could not start."""
    logs.configure()
    sys.setswitchinterval(SWITCH_SECONDS)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    for name in ignored:
        log.warning("ignored, Kubernetes injects it", setting=name)
    # An empty WEBHOOK_SECRET is none: the log says what came of it.
    log.info("webhook signatures", required=configured.webhook_secret is not None)
    log.info("keys of endpoints' signatures at rest", sealed=configured.secret_key is not None)
    spans = tracing.start()
    app = create_app(configured, spans)
    # uvicorn raises the signal that stopped it once more when it is done; it has been obeyed.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: None)
    database, computing = app.state.database, app.state.computing
    server = Server(
        app,
        configured,
        app.state.metrics,
        refuse_one=lambda: database.refuse_one() or computing.refuse_one(),
        stopping=app.state.live.close,
    )
    try:
        server.run()
    except SystemExit:
        # A port that is taken, say: uvicorn has logged it, and has statuses of its own.
        raise SystemExit(1) from None
    finally:
        if spans is not None:
            spans.close()
    raise SystemExit(0 if server.started else 1)


if __name__ == "__main__":
    main()
