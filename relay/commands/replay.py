"""`outbox-relay replay`: a subscription gets again what it got before."""

import argparse

from relay.commands.arguments import Subparsers, command, identity, time
from relay.commands.connection import migrated
from relay.commands.outcome import DONE
from relay.operate import replay as replaying
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    replayed = command(
        parent,
        "replay",
        "send again what a subscription got before, in order; what is pending stays pending",
        "outbox-relay replay billing --from 2026-03-01T09:00:00Z --dry-run",
        "outbox-relay replay billing --from-message 17",
    )
    replayed.set_defaults(command=replay)
    replayed.add_argument("name", metavar="NAME", help="of the subscription")
    since = replayed.add_mutually_exclusive_group(required=True)
    since.add_argument(
        "--from",
        dest="from_time",
        type=time,
        metavar="TIME",
        help="what was written since then; ISO 8601 with an offset",
    )
    since.add_argument(
        "--from-message",
        dest="from_message_id",
        type=identity,
        metavar="ID",
        help="this message and those after it",
    )
    replayed.add_argument("--dry-run", action="store_true", help="only tell how many they are")


def replay(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        messages = replaying.replay(
            connection,
            arguments.name,
            from_time=arguments.from_time,
            from_message_id=arguments.from_message_id,
            dry_run=arguments.dry_run,
        )
    print(f"{'would be replayed' if arguments.dry_run else 'replayed'}: {messages}")
    return DONE
