"""`outbox-relay subscriptions show|set|retry|delete`: one subscription, as over HTTP."""

import argparse

from relay.commands import commands
from relay.commands.arguments import Subparsers, command, setting
from relay.operate import subscription
from relay.operate.table import printable
from relay.process import terminal
from relay.settings import Settings


def add(subparsers: Subparsers) -> None:
    """The four, below `outbox-relay subscriptions`."""
    showing = command(
        subparsers,
        "show",
        "show one with all its settings, the endpoint's URL whole",
        "outbox-relay subscriptions show billing",
        "outbox-relay subscriptions show billing --json | jq .settings",
    )
    showing.set_defaults(command=show)
    showing.add_argument("name", metavar="NAME")
    showing.add_argument("--json", action="store_true", help="one JSON object")
    changing = command(
        subparsers,
        "set",
        "change what is given, and nothing else; in force within a second or two",
        "outbox-relay subscriptions set billing --setting retry.max_attempts=5",
        "outbox-relay subscriptions set billing --setting rate_per_second=null  # the default",
        "outbox-relay subscriptions set billing --channel orders --type order.paid",
    )
    changing.set_defaults(command=change)
    changing.add_argument("name", metavar="NAME")
    changing.add_argument("--name", dest="new_name", metavar="NAME", help="call it so")
    changing.add_argument(
        "--channel", action="append", dest="channels", help="instead of its channels; repeatable"
    )
    types = changing.add_mutually_exclusive_group()
    types.add_argument(
        "--type", action="append", dest="types", help="only messages of it; may be repeated"
    )
    types.add_argument("--all-types", action="store_true", help="messages of every type")
    changing.add_argument("--endpoint", metavar="URL")
    changing.add_argument(
        "--setting",
        action="append",
        type=setting,
        default=[],
        dest="settings",
        metavar="PATH=VALUE",
        help="as table outbox.http_setting lists them, null for the default; may be repeated",
    )
    retrying = command(
        subparsers,
        "retry",
        "make due what waits for its next attempt, in order: for an endpoint that is mended",
        "outbox-relay subscriptions retry billing",
        "outbox-relay subscriptions retry billing --group order-17",
    )
    retrying.set_defaults(command=retry)
    retrying.add_argument("name", metavar="NAME")
    retrying.add_argument("--group", metavar="KEY", help="of this group key alone")
    deleting = command(
        subparsers,
        "delete",
        "end it; refused while something of it is undelivered",
        "outbox-relay subscriptions delete billing",
        "outbox-relay subscriptions delete billing --discard-undelivered",
    )
    deleting.set_defaults(command=delete)
    deleting.add_argument("name", metavar="NAME")
    deleting.add_argument(
        "--discard-undelivered", action="store_true", help="lose what it has not delivered"
    )


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    with commands.migrated(settings) as connection:
        one = subscription.read(connection, arguments.name)
    if arguments.json:
        terminal.print_json(one)
    else:
        print(subscription.render(one))
    return commands.DONE


def change(settings: Settings, arguments: argparse.Namespace) -> int:
    named = {
        "name": arguments.new_name,
        "channels": arguments.channels,
        "types": arguments.types,
    }
    given = {name: value for name, value in named.items() if value is not None}
    if arguments.all_types:
        given["types"] = None
    chosen = dict(arguments.settings)
    if arguments.endpoint is not None:
        chosen["endpoint"] = arguments.endpoint
    if not given and not chosen:
        return commands.complain(
            commands.BAD_CONFIGURATION, "nothing to change: say --setting, --channel, --type, …"
        )
    with commands.migrated(settings) as connection:
        subscription.change(connection, arguments.name, given, chosen)
    print(f"{printable(arguments.name)} is changed")
    return commands.DONE


def retry(settings: Settings, arguments: argparse.Namespace) -> int:
    with commands.migrated(settings) as connection:
        messages = subscription.retry(connection, arguments.name, arguments.group)
    print(f"{messages} due now; those behind them in their groups follow")
    return commands.DONE


def delete(settings: Settings, arguments: argparse.Namespace) -> int:
    with commands.migrated(settings) as connection:
        subscription.delete(
            connection, arguments.name, discard_undelivered=arguments.discard_undelivered
        )
    print(f"{printable(arguments.name)} is deleted")
    return commands.DONE
