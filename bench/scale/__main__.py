"""`make bench-scale`: what one Postgres takes, how many endpoints one relay and four serve, what
runs out first, four databases into one Kafka, and the model that is fed with it; one table.

What bench/model.py answers with is written to a file, and held against two mixtures that it was
not fed with.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from bench import model
from bench.figures import Figure, Section
from bench.model import Costs
from bench.scale import check, costs, steady
from bench.scale.arena import ScaleArena
from bench.scale.machine import machine
from bench.scale.sale import Sale
from bench.scale.sections import SECTIONS
from bench.scale.stage import QUICK, Sizes, Stage
from bench.screen import Screen

NAMES = (*SECTIONS, "model")


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be, and with
    --check where the model is further off than its target.
    """
    arguments, screen = _arguments(), Screen()
    shown: list[Section] = []

    def show(sections: list[Section]) -> None:
        shown.extend(sections)
        screen.show(sections)

    status = screen.run(_measure(arguments, screen.tell), show)
    return status or int(arguments.check and misses(shown))


def misses(sections: Iterable[Section]) -> bool:
    """Whether a figure does not keep its target."""
    return any(figure.misses for section in sections for figure in section.figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description=__doc__,
        epilog="Starts servers of its own; those of the environment are left alone.",
    )
    add = parser.add_argument
    add("--only", default=",".join(NAMES), metavar="NAMES", help=f"of: {', '.join(NAMES)}")
    add("--check", action="store_true",
        help="nothing but the model against the two mixtures, by what the file says; "
        "exit 1 where it is further off than its target")  # fmt: skip
    add("--measured", type=Path, default=model.MEASURED, metavar="FILE",
        help="what the model is fed with: written, and with --check read")  # fmt: skip
    add("--quick", action="store_true", help="small and short: no figure to quote")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(NAMES):
        parser.error(f"--only: {', '.join(sorted(unknown))}: write some of {', '.join(NAMES)}")
    if not arguments.measured.absolute().parent.is_dir():
        parser.error(f"--measured: {arguments.measured.parent} is no folder")
    return arguments


def _measure(arguments: argparse.Namespace, tell: Callable[[str], None]) -> Iterator[Section]:
    sizes = QUICK if arguments.quick else Sizes()
    tell("Postgres, Kafka and the endpoints start")
    with ScaleArena.start_everything() as arena, arena.connect() as connection:
        stage = Stage(arena, connection, Sale.open(arena, connection), sizes, tell)
        if arguments.check:
            fed = model.read(arguments.measured)
            _warm_up(stage)
            yield from check.sections(stage, fed)
            return
        for name, measure in SECTIONS.items():
            if name in arguments.only:
                yield measure(stage)
        if "model" in arguments.only:
            _warm_up(stage)
            fed = costs.measure(stage, machine(), is_quick=arguments.quick)
            _write(fed, arguments.measured)
            tell(f"{arguments.measured} is written")
            yield _fed(fed)
            yield from check.sections(stage, fed)


def _warm_up(stage: Stage) -> None:
    """Kafka's code is compiled as it runs, that of large batches and that of small ones."""
    sizes = stage.sizes
    stage.make_topics(sizes.many_kafka)
    steady.drain(stage, sizes.backlog, kafka=sizes.many_kafka)
    steady.turn(stage, sizes.steady_rate, sizes.warm_up, sizes.many_kafka, 1)


def _write(fed: Costs, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(fed), indent=2) + b"\n")


def _fed(fed: Costs) -> Section:
    """What the model is fed with, where it says something by itself."""
    figures = [
        Figure("an order without its messages, Postgres",
               [fed.order.postgres_microseconds], "{:,.0f} µs"),
        Figure("  WAL", [fed.order.wal_bytes], "{:,.0f} B"),
        Figure("a message, Postgres", [fed.message.postgres_microseconds], "{:,.0f} µs"),
        Figure("  WAL, of 500 bytes", [fed.message.wal_bytes.of(500)], "{:,.0f} B"),
        Figure("  in the log, of 500 bytes", [fed.message.disk_bytes.of(500)], "{:,.0f} B"),
        Figure("relay, one subscription", [fed.relay_bytes / 2**20], "{:,.0f} MiB"),
        Figure("  idle, of one core", [fed.idle_relay * 100], "{:.1f} %"),
    ]  # fmt: skip
    for kind, of in (("Kafka", fed.kafka), ("endpoints", fed.endpoints)):
        figures += [
            Figure(f"a delivery to {kind}, relay", [of.delivery.relay], "{:.1f} µs"),
            Figure("  Postgres", [of.delivery.postgres], "{:.1f} µs"),
            Figure("  a run, relay", [of.run_relay.fixed], "{:,.0f} µs"),
            Figure("    each subscription in it", [of.run_relay.each], "{:,.0f} µs"),
            Figure("  a run, Postgres", [of.run_postgres.fixed], "{:,.0f} µs"),
            Figure("    each subscription in it", [of.run_postgres.each], "{:,.0f} µs"),
            Figure("    WAL of each", [of.run_wal_bytes.each], "{:,.0f} B"),
            Figure("  memory of each subscription", [of.relay_bytes / 1024], "{:,.0f} KiB"),
        ]
    return Section(
        "What the model is fed with",
        figures,
        "from turns at a steady rate with none, one and many subscriptions of a kind, and from "
        "backlogs, where runs are long and count for nothing.",
    )


if __name__ == "__main__":
    sys.exit(main())
