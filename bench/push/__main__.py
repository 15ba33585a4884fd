"""`make bench-push`: signed webhooks beside a bare aiohttp loop, one table."""

import argparse
import sys
from collections.abc import Callable, Iterator

from bench.figures import Section
from bench.push import sections
from bench.push.arena import PushArena
from bench.push.sections import Bench, Sizes
from bench.screen import Screen

QUICK = Sizes(
    rounds=1,
    deliveries=4_000,
    rates=(200,),
    seconds=3,
    slot_seconds=3,
    isolation_rounds=1,
    isolation_seconds=4,
    backlog=100_000,
    rows=20_000,
)


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    arguments, screen = _arguments(), Screen()
    return screen.run(_measure(arguments, screen.tell), screen.show)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.push",
        description=__doc__,
        epilog="Starts a Postgres of its own; the environment's is left alone.",
    )
    add = parser.add_argument
    names = ", ".join(sections.NAMES)
    add("--only", default=",".join(sections.NAMES), metavar="NAMES", help=f"of: {names}")
    add("--quick", action="store_true", help="small and once: no figure to quote")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(sections.NAMES):
        parser.error(f"--only: {', '.join(sorted(unknown))}: write some of {names}")
    return arguments


def _measure(arguments: argparse.Namespace, tell: Callable[[str], None]) -> Iterator[Section]:
    sizes = QUICK if arguments.quick else Sizes()
    with PushArena.start_all() as arena, arena.connect() as connection:
        bench = Bench(arena, connection, sizes, tell)
        for name in sections.NAMES:
            if name in arguments.only:
                yield bench.section(name)


if __name__ == "__main__":
    sys.exit(main())
