"""`outbox-relay trace`: where a message is."""

import argparse

from relay.commands.arguments import Subparsers, command, time
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, complain
from relay.operate import trace as tracing
from relay.operate.trace import Wanted
from relay.process import terminal
from relay.settings import Settings

# More digits than any id has.
MAX_ID_DIGITS = 18


def add(parent: Subparsers) -> None:
    traced = command(
        parent,
        "trace",
        "tell where a message is: what became of it at each subscription",
        "outbox-relay trace 17",
        "outbox-relay trace 01986f2a-4b1c-7d3e-9f00-0123456789ab",
        "outbox-relay trace order-7-paid --channel orders --since 2026-03-01T09:00:00Z",
        "outbox-relay trace --group 7 --channel orders",
    )
    traced.set_defaults(command=trace)
    traced.add_argument(
        "key",
        metavar="KEY",
        nargs="?",
        help="the id of a message, or its idempotency key; with --channel, --since or --until the "
        "latter also where it is a number",
    )
    traced.add_argument(
        "--group", metavar="KEY", help="the latest ten messages of a group, those that wait first"
    )
    traced.add_argument("--channel", help="only messages of this channel")
    traced.add_argument("--since", type=time, metavar="TIME", help="written then or later")
    traced.add_argument("--until", type=time, metavar="TIME", help="written until then")
    traced.add_argument("--json", action="store_true", help="one JSON object")


def trace(settings: Settings, arguments: argparse.Namespace) -> int:
    key, group = arguments.key, arguments.group
    if (key is None) == (group is None):
        return complain(BAD_CONFIGURATION, "trace takes a KEY, or --group KEY")
    wanted = Wanted(
        idempotency_key=key,
        group_key=group,
        channel=arguments.channel,
        since=arguments.since,
        until=arguments.until,
    )
    with migrated(settings) as connection:
        if wanted == Wanted(idempotency_key=key) and key is not None and _is_id(key):
            message_ids = [int(key)]
        else:
            message_ids = tracing.find(connection, wanted)
        traces = [tracing.read(connection, message_id) for message_id in message_ids]
    if arguments.json:
        terminal.print_json({"messages": traces})
    else:
        print(tracing.render(traces))
    return DONE


def _is_id(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) <= MAX_ID_DIGITS
