"""`outbox-relay status`: what waits, what moved lately, which relay works on what."""

import argparse

from relay.commands.arguments import Subparsers, command
from relay.commands.connection import migrated
from relay.commands.outcome import DONE
from relay.monitoring import status
from relay.operate import status_text
from relay.process import terminal
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    showing = command(
        parent,
        "status",
        "tell what waits, what moved lately, who works on what",
        "outbox-relay status",
        "outbox-relay status --json | jq .backlog",
    )
    showing.set_defaults(command=show)
    showing.add_argument("--json", action="store_true", help="one JSON object")


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        now = status.read(connection)
    if arguments.json:
        terminal.print_json(now)
    else:
        print(status_text.render(now))
    return DONE
