"""`outbox-relay rebase`: the log gets this cluster's transaction ids."""

import argparse

from relay.commands.arguments import Subparsers, command, time
from relay.commands.connection import migrated
from relay.commands.outcome import DONE
from relay.operate import rebase as rebasing
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    rebased = command(
        parent,
        "rebase",
        "give the log this cluster's transaction ids, after a restored dump or pg_upgrade",
        "outbox-relay rebase                               # before any writer starts",
        "outbox-relay rebase --from 2026-03-01T09:00:00Z   # writers ran first",
    )
    rebased.set_defaults(command=rebase)
    rebased.add_argument(
        "--from",
        dest="repeat_from",
        type=time,
        metavar="TIME",
        help="send again what was written since then; ISO 8601 with an offset",
    )


def rebase(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        print(rebasing.rebase(connection, repeat_from=arguments.repeat_from))
    return DONE
