"""`outbox-relay channels list|drop`: channels that wait for their topics."""

import argparse

from relay.commands.arguments import Subparsers, command
from relay.commands.connection import migrated
from relay.commands.outcome import DONE
from relay.operate import channels
from relay.operate.table import printable
from relay.process import terminal
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    listed = command(
        parent,
        "channels",
        "list the channels that wait for their topics, or give one up",
        "outbox-relay channels list",
    )
    subparsers = listed.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = command(
        subparsers,
        "list",
        "list the channels that wait: since when, why, and how many messages with them",
        "outbox-relay channels list",
        "outbox-relay channels list --json | jq -r '.[].channel'",
    )
    listing.set_defaults(command=show)
    listing.add_argument("--json", action="store_true", help="one JSON array")
    dropping = command(
        subparsers,
        "drop",
        "pass over for ever what a channel that waits has by now; what comes later waits again",
        "outbox-relay channels drop oders --dry-run",
        "outbox-relay channels drop oders --subscription kafka",
    )
    dropping.set_defaults(command=drop)
    dropping.add_argument("channel", metavar="CHANNEL")
    dropping.add_argument("--subscription", metavar="NAME", help="in this one only")
    dropping.add_argument("--dry-run", action="store_true", help="only tell how many they are")


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        waiting = channels.read(connection)
    if arguments.json:
        terminal.print_json(waiting)
    else:
        print(channels.render(waiting))
    return DONE


def drop(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        dropped = channels.drop(
            connection,
            arguments.channel,
            subscription=arguments.subscription,
            dry_run=arguments.dry_run,
        )
    for one in dropped:
        count = f"{'at least ' if one.more else ''}{one.messages}"
        done = "would be passed over" if arguments.dry_run else "passed over for ever"
        print(f"{done} in {printable(one.subscription)}: {count}")
    return DONE
