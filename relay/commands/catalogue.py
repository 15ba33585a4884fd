"""`outbox-relay catalogue …`: event types as code of a repository."""

import argparse
from pathlib import Path

from relay.commands.arguments import Subparsers, command
from relay.commands.connection import migrated
from relay.commands.outcome import DONE, FAULT, complain
from relay.operate import catalogue, event_type_files
from relay.operate.catalogue import Outcome
from relay.operate.event_type_files import CatalogueError
from relay.operate.table import printable, table
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    noun = command(
        parent,
        "catalogue",
        "register the event types of a directory, check them, or write them down",
        "outbox-relay catalogue check events/  # in a pull request",
        "outbox-relay catalogue apply events/  # when it is merged",
    )
    subparsers = noun.add_subparsers(title="commands", required=True, metavar="COMMAND")
    applying = command(
        subparsers,
        "apply",
        "register the types that the files of a directory define, all or none; others are left",
        "outbox-relay catalogue apply events/",
    )
    applying.set_defaults(command=apply)
    checking = command(
        subparsers,
        "check",
        "tell what `apply` would do, and what stands in its way; nothing is written",
        "outbox-relay catalogue check events/",
    )
    checking.set_defaults(command=check)
    exporting = command(
        subparsers,
        "export",
        "write each type to DIRECTORY/TYPE.json, as `apply` takes it",
        "outbox-relay catalogue export events/",
    )
    exporting.set_defaults(command=export)
    for one in (applying, checking, exporting):
        one.add_argument("directory", type=Path, metavar="DIRECTORY")


def apply(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        definitions = event_type_files.read(arguments.directory)
        with migrated(settings) as connection:
            _tell(catalogue.apply(connection, definitions))
    except CatalogueError as refused:
        return complain(FAULT, *refused.faults, "nothing was registered")
    return DONE


def check(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        definitions = event_type_files.read(arguments.directory)
        with migrated(settings) as connection:
            _tell(catalogue.check(connection, definitions))
    except CatalogueError as refused:
        return complain(FAULT, *refused.faults)
    return DONE


def _tell(outcomes: list[Outcome]) -> None:
    rows = [(one.type, one.version, one.change) for one in outcomes]
    print(table(("event type", "version", ""), rows) if rows else "no file defines an event type")
    for one in outcomes:
        if one.not_in_sql is not None:
            said = f"SQL can't keep the schema of {one.type}, it is checked over HTTP alone"
            print(printable(f"{said}: {one.not_in_sql}"))


def export(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        definitions = catalogue.export(connection)
    written = event_type_files.write(arguments.directory, definitions)
    directory = printable(str(arguments.directory))
    print(f"{len(definitions)} event types are in {directory}; {written} files were written")
    return DONE
