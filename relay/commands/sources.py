"""`outbox-relay connectors pause|resume|seek|delete|dead-letters|…`: those of direction in."""

import argparse
import sys
from collections.abc import Callable

from relay.commands.arguments import Subparsers, command, identity, limit
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, FAULT, complain
from relay.operate import source, source_dead_letters
from relay.operate.table import printable
from relay.settings import Settings

Chosen = Callable[[Settings, argparse.Namespace], int]


def add(subparsers: Subparsers) -> None:
    """To the commands of connectors."""
    pausing = _named(subparsers, "pause", "hold an inward connector where it stands", pause)
    pausing.add_argument("--reason", help="is shown where it is listed")
    _named(subparsers, "resume", "go on with an inward connector where it stands", resume)
    seeking = _named(
        subparsers,
        "seek",
        "begin anew with the topic of an inward connector",
        seek,
        "--from latest",
    )
    seeking.add_argument(
        "--from",
        required=True,
        dest="start",
        help="earliest, latest or a time, as 2026-03-01T09:00:00Z",
    )
    _named(subparsers, "delete", "end an inward connector, and forget its dead letters", delete)
    listing = _named(
        subparsers, "dead-letters", "list the records that could not enter", dead_letters
    )
    listing.add_argument("--limit", type=limit, default=50, help="1 to 100,000; 50 by default")
    showing = _named(
        subparsers, "dead-letter", "show a record that could not enter", dead_letter, "17"
    )
    showing.add_argument("id", type=identity, metavar="ID")
    for name, does, chosen in (
        ("redrive", "try records again that could not enter", redrive),
        ("discard", "forget records that could not enter", discard),
    ):
        meant = _named(subparsers, name, does, chosen, "17 18")
        meant.add_argument("ids", type=identity, nargs="*", metavar="ID")
        meant.add_argument("--all", action="store_true", help="all of this connector")


def _named(
    subparsers: Subparsers, name: str, does: str, chosen: Chosen, example: str = ""
) -> argparse.ArgumentParser:
    made = command(
        subparsers, name, does, f"outbox-relay connectors {name} orders {example}".strip()
    )
    made.set_defaults(command=chosen)
    made.add_argument("name", metavar="NAME")
    return made


def connect(settings: Settings, arguments: argparse.Namespace) -> int:
    """`connectors add --direction in`."""
    if arguments.types or arguments.shards != 1 or arguments.delivery != "at_least_once":
        words = "an inward connector takes no --event-type, --shards or --exactly-once"
        return complain(BAD_CONFIGURATION, words)
    with migrated(settings) as connection:
        source.add(
            connection,
            arguments.name,
            channel=arguments.channel,
            kind=arguments.kind,
            config=arguments.config,
            priority=arguments.priority,
        )
    what = "queue" if arguments.kind == "sqs" else "topic"
    print(f"{printable(arguments.name)} takes in what the {what} holds")
    return DONE


def pause(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        source.pause(connection, arguments.name, arguments.reason)
    print(f"{printable(arguments.name)} is paused")
    return DONE


def resume(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        source.resume(connection, arguments.name)
    print(f"{printable(arguments.name)} goes on where it stood")
    return DONE


def seek(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        source.seek(connection, arguments.name, arguments.start)
    print(f"{printable(arguments.name)} begins anew: {printable(arguments.start)}")
    return DONE


def delete(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        source.delete(connection, arguments.name)
    print(f"{printable(arguments.name)} is deleted")
    return DONE


def dead_letters(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        found = source_dead_letters.read(connection, arguments.name, limit=arguments.limit)
    print(source_dead_letters.render(found))
    if len(found) == arguments.limit:
        print(f"the first {arguments.limit}; --limit shows more", file=sys.stderr)
    return DONE


def dead_letter(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        print(source_dead_letters.show(connection, arguments.name, arguments.id))
    return DONE


def redrive(settings: Settings, arguments: argparse.Namespace) -> int:
    if bool(arguments.ids) == arguments.all:
        return complain(BAD_CONFIGURATION, "redrive takes ids, or --all")
    with migrated(settings) as connection:
        entered, refused = source_dead_letters.redrive(
            connection, arguments.name, arguments.ids or None
        )
    print(f"entered: {entered}, still refused: {refused}")
    return FAULT if refused else DONE


def discard(settings: Settings, arguments: argparse.Namespace) -> int:
    if bool(arguments.ids) == arguments.all:
        return complain(BAD_CONFIGURATION, "discard takes ids, or --all")
    with migrated(settings) as connection:
        forgotten = source_dead_letters.discard(connection, arguments.name, arguments.ids or None)
    print(f"forgotten: {forgotten}")
    return DONE
