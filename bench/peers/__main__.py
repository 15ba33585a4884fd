"""`make bench-peers`: one table, a row for each candidate, none left out silently."""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence

import confluent_kafka
import psycopg
from rich.console import Console

from bench.arena import Arena
from bench.peers import bare, report, turn
from bench.peers.candidate import Candidate
from bench.peers.classic import Classic
from bench.peers.debezium import Debezium
from bench.peers.faststream_outbox import FastStreamOutbox
from bench.peers.this_relay import ThisRelay
from bench.peers.turn import Measured, Plan
from bench.peers.txoutbox import TxOutbox
from local.kafka import KAFKA_VERSION
from local.server import StartError

# Of a log or a pipe, which knows no width.
PLAIN_WIDTH = 120
OURS = "relay"
CANDIDATES: Sequence[Candidate] = (
    ThisRelay(OURS, exactly_once=False, processes=1),
    ThisRelay("relay-2-processes", exactly_once=False, processes=2),
    ThisRelay("exactly-once", exactly_once=True, processes=1),
    ThisRelay("exactly-once-2-processes", exactly_once=True, processes=2),
    Debezium(),
    TxOutbox(),
    FastStreamOutbox(),
    Classic(),
)
PEERS = ("debezium", "txoutbox", "faststream-outbox", "classic")
NAMES = (*(candidate.name for candidate in CANDIDATES), bare.NAME)
# What Debezium needs, and the same for all.
# A backlog is one transaction here, which logical decoding would else spill to disk.
POSTGRES_SETTINGS = {"wal_level": "logical", "logical_decoding_work_mem": "512MB"}
# Kafka's own defaults: the shorter ones of this project's tests make a busy broker fence itself.
KAFKA_SETTINGS = {"broker.session.timeout.ms": "9000", "broker.heartbeat.interval.ms": "2000"}
QUICK = Plan(messages=20_000, rounds=1, latency_seconds=3)

Say = Callable[[str], None]


def main() -> int:
    """Exit 0 when every candidate was measured; 1 where one failed or a server does not start."""
    arguments = _arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    began_at = time.monotonic()
    try:
        with Arena.open(POSTGRES_SETTINGS, KAFKA_SETTINGS) as arena:
            results = _measure(arena, arguments, console)
            versions = _versions(arena, results)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    console.print(report.table(results))
    failed = {name: reason for name, reason in results.items() if isinstance(reason, str)}
    for name, reason in failed.items():
        console.print(f"{name} failed: {reason}", style="red", markup=False)
    for line in (*report.short_of_rate(results), *report.ahead(results, OURS, PEERS)):
        console.print(line, markup=False)
    console.print(report.NOTE, markup=False)
    console.print("; ".join(versions), markup=False)
    console.print(f"{time.monotonic() - began_at:.0f} s in all.")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        epilog="Starts a Postgres and a Kafka of its own; the environment's are left alone. "
        "The first run fetches the peers.",
    )
    add = parser.add_argument
    add("--messages", type=int, default=200_000, metavar="N", help="in a backlog, at most; 200000")
    add("--only", metavar="NAME,NAME", help=f"some of {', '.join(NAMES)}")
    add("--quick", action="store_true", help="small and once: a look, no figure to quote")
    arguments = parser.parse_args()
    if not 1_000 <= arguments.messages <= 10_000_000:
        parser.error("--messages: write a number from 1000 to 10000000")
    arguments.only = arguments.only.split(",") if arguments.only else NAMES
    if unknown := set(arguments.only) - set(NAMES):
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return arguments


def _measure(
    arena: Arena, arguments: argparse.Namespace, console: Console
) -> dict[str, Measured | str]:
    """In turn, so that none runs beside another; a failure is its reason, and the others go on."""
    plan = QUICK if arguments.quick else Plan(arguments.messages, rounds=3, latency_seconds=10)
    results: dict[str, Measured | str] = {}
    with console.status("Kafka's warm-up") as status:
        # Its JIT: the first 200,000 messages of a broker go at half speed, with every candidate.
        _take_turn(arena, bare.NAME, plan, status.update)
        for name in (name for name in NAMES if name in arguments.only):
            began_at = time.monotonic()

            def say(what: str, name: str = name) -> None:
                status.update(f"{name}: {what}")

            say("start")
            results[name] = _take_turn(arena, name, plan, say)
            console.print(f"{name}: {time.monotonic() - began_at:.0f} s", markup=False)
    return results


def _take_turn(arena: Arena, name: str, plan: Plan, say: Say) -> Measured | str:
    try:
        if name == bare.NAME:
            return bare.measure(arena, plan, say)
        candidate = next(each for each in CANDIDATES if each.name == name)
        return turn.measure(arena, candidate, plan, say)
    except Exception as error:
        # Whatever it is that goes wrong with one of them, it is shown, and it is that one's alone.
        return f"{type(error).__name__}: {error}"


def _versions(arena: Arena, results: dict[str, Measured | str]) -> list[str]:
    with arena.connect() as connection:
        server = connection.info.parameter_status("server_version")
    of_candidates = dict.fromkeys(
        version
        for candidate in CANDIDATES
        if isinstance(results.get(candidate.name), Measured)
        for version in candidate.versions()
    )
    return [
        f"PostgreSQL {server}",
        f"Apache Kafka {KAFKA_VERSION}",
        f"Python {platform.python_version()}",
        f"confluent-kafka {confluent_kafka.__version__}",
        f"librdkafka {confluent_kafka.libversion()[0]}",
        f"psycopg {psycopg.__version__}",
        *of_candidates,
    ]


if __name__ == "__main__":
    sys.exit(main())
