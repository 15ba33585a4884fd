"""`make bench-growth`: how the relay's cost grows with backlog, retained messages, retention,
subscriptions, groups and open transactions; one table, one plot.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from bench.arena import Arena
from bench.growth import plot
from bench.growth.dimensions import QUICK, Cell, Growth, Sizes
from bench.growth.report import TITLES, table
from bench.screen import Screen

# A message in the log with its indexes and its WAL, and in the topics what they may keep of it.
BYTES_PER_MESSAGE = 2200
TOPIC_BYTES = 2_000_000_000
# So that no checkpoint falls between a fill and its drain: the first session that reads a page
# after one sets hint bits and logs the page whole. And a session for each open transaction.
POSTGRES_SETTINGS = {"max_wal_size": "32GB", "max_connections": "1300"}
KAFKA_SETTINGS = {
    "log.retention.check.interval.ms": "2000",
    "log.segment.delete.delay.ms": "1000",
    # This broker is never killed, and on a busy machine a heartbeat is late.
    "broker.session.timeout.ms": "18000",
    "broker.heartbeat.interval.ms": "2000",
}


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    arguments = _arguments()
    sizes: Sizes = QUICK if arguments.quick else Sizes()
    needed = max(sizes.backlogs) * BYTES_PER_MESSAGE + TOPIC_BYTES
    if (free := shutil.disk_usage(tempfile.gettempdir()).free) < needed:
        print(
            f"{tempfile.gettempdir()} has {free / 1e9:.0f} GB free and {needed / 1e9:.0f} GB are "
            "needed: set TMPDIR to a folder with more, or measure with --quick",
            file=sys.stderr,
        )
        return 1
    screen = Screen()

    def show(cells: list[Cell]) -> None:
        _show(cells, screen.console)
        if plot.write(cells, arguments.plot):
            screen.tell(f"the plot is {arguments.plot}")

    return screen.run(_measure(sizes, arguments.only, screen.tell), show)


def _show(cells: list[Cell], console: Console) -> None:
    console.print(table(cells))
    console.print(
        "500-byte payloads; medians of the rounds; processor time is per message. The clock runs "
        "from the first claim to the last checkpoint.",
        highlight=False,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        epilog="Starts a Postgres and a Kafka of its own; the environment's are left alone.",
    )
    add = parser.add_argument
    add("--only", default=",".join(TITLES), metavar="NAMES", help=f"of: {', '.join(TITLES)}")
    add("--plot", type=Path, default=Path("growth.svg"), metavar="FILE", help="growth.svg")
    add("--quick", action="store_true", help="a tenth of everything, once: no figure to quote")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(TITLES):
        parser.error(f"--only: {', '.join(sorted(unknown))}: write some of {', '.join(TITLES)}")
    if not arguments.plot.absolute().parent.is_dir():
        parser.error(f"--plot: {arguments.plot.parent} is no folder")
    return arguments


def _measure(sizes: Sizes, only: list[str], tell: Callable[[str], None]) -> Iterator[Cell]:
    with Arena.open(POSTGRES_SETTINGS, KAFKA_SETTINGS) as arena, arena.connect() as connection:
        growth = Growth(arena, connection, sizes, tell)
        dimensions: dict[str, Callable[[], Iterator[Cell]]] = {
            "retention": growth.retention,
            "subscriptions": growth.subscriptions,
            "groups": growth.groups,
            "transactions": growth.transactions,
            "delivery": growth.delivery,
        }
        tell("warm-up")
        growth.warm_up()
        if {"backlog", "retained"} & set(only):
            tell("backlog and retained messages")
            yield from growth.log(only)
        for name, measured in dimensions.items():
            if name in only:
                tell(name)
                yield from measured()


if __name__ == "__main__":
    sys.exit(main())
