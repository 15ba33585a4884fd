"""`outbox-relay dead-letters list|show|redrive`: what was given up."""

import argparse
import sys

from relay.commands.arguments import Subparsers, command, identity, limit, time
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, complain
from relay.operate import dead_letters
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    listed = command(
        parent,
        "dead-letters",
        "list, inspect and redrive what was given up",
        "outbox-relay dead-letters list",
    )
    subparsers = listed.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = command(
        subparsers,
        "list",
        "list the dead letters that are not delivered, in the order of their publishing",
        "outbox-relay dead-letters list --subscription kafka --reason MSG_SIZE_TOO_LARGE",
    )
    listing.set_defaults(command=show_list)
    listing.add_argument("--subscription", metavar="NAME")
    _add_filter(listing)
    listing.add_argument("--limit", type=limit, default=50, help="1 to 100,000; 50 by default")
    showing = command(
        subparsers,
        "show",
        "show one dead letter with its headers and its payload",
        "outbox-relay dead-letters show 17",
    )
    showing.set_defaults(command=show)
    showing.add_argument("id", type=identity)
    redriving = command(
        subparsers,
        "redrive",
        "send dead letters again, to their own subscription only and in their order",
        "outbox-relay dead-letters redrive 17 18",
        "outbox-relay dead-letters redrive --all --subscription billing --type invoice.sent",
    )
    redriving.set_defaults(command=redrive)
    redriving.add_argument("ids", type=identity, nargs="*", metavar="ID")
    redriving.add_argument("--all", action="store_true", help="every dead letter of --subscription")
    redriving.add_argument("--subscription", metavar="NAME")
    _add_filter(redriving)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", help="only those that died of it")
    parser.add_argument("--type", help="only messages of this type")
    parser.add_argument("--since", type=time, metavar="TIME", help="that died then or later")
    parser.add_argument("--until", type=time, metavar="TIME", help="that died before")


def show_list(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        listed = dead_letters.read(connection, _meant(arguments), limit=arguments.limit)
    print(dead_letters.render(listed))
    if len(listed) == arguments.limit:
        print(f"the first {arguments.limit}; --limit shows more", file=sys.stderr)
    return DONE


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        print(dead_letters.show(connection, arguments.id))
    return DONE


def _meant(arguments: argparse.Namespace) -> dead_letters.Filter:
    return dead_letters.Filter(
        subscription=arguments.subscription,
        reason=arguments.reason,
        type=arguments.type,
        since=arguments.since,
        until=arguments.until,
    )


def redrive(settings: Settings, arguments: argparse.Namespace) -> int:
    meant = _meant(arguments)
    by_filter = arguments.all and meant.subscription and not arguments.ids
    by_ids = arguments.ids and not arguments.all and meant == dead_letters.Filter()
    if not (by_filter or by_ids):
        return complain(
            BAD_CONFIGURATION,
            "redrive takes ids, or --all --subscription NAME with --reason, --type, --since, "
            "--until as you like",
        )
    with migrated(settings) as connection:
        redriven = (
            dead_letters.redrive(connection, arguments.ids)
            if by_ids
            else dead_letters.redrive_all(connection, meant)
        )
    print(f"redriven: {redriven}")
    return DONE
