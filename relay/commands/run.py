"""`outbox-relay run`: the relay itself, until it is told to stop."""

import argparse
import os
import threading

from relay.commands.arguments import Subparsers, command
from relay.commands.outcome import FAULT, complain
from relay.daemon import relay
from relay.daemon.workers import StuckError
from relay.monitoring import server as status_server
from relay.monitoring import tracing
from relay.monitoring.telemetry import Telemetry
from relay.process.signals import stop_on_signals
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    running = command(
        parent,
        "run",
        "publish messages until SIGTERM or SIGINT",
        "outbox-relay run",
        "outbox-relay run --once   # from cron, or at the end of a test",
    )
    running.set_defaults(command=run)
    running.add_argument(
        "--once",
        action="store_true",
        help="until nothing more can go now; exit 1 if something is left that can't go",
    )


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        return _run(settings, once=arguments.once)
    except relay.Refused as fault:
        return complain(FAULT, str(fault))
    except StuckError as fault:
        # At its end Python would wait for what librdkafka's threads hold.
        os._exit(complain(FAULT, str(fault)))


def _run(settings: Settings, *, once: bool) -> int:
    stop = threading.Event()
    stop_on_signals(stop)
    spans = tracing.start(settings.name)
    telemetry = Telemetry(spans)
    server = status_server.start(settings, telemetry)
    try:
        return relay.run(settings, telemetry, stop, once)
    finally:
        if spans is not None:
            spans.close()
        if server is not None:
            server.close()
