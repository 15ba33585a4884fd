"""`make chaos`: kills, freezes, cut wires and failovers under load on real Postgres and Kafka.

Two relays carry one log to Kafka for two subscriptions, at least once and exactly once, and as
signed webhooks to an endpoint with faults of its own, while writers and paying customers fill it
and faults strike at random. Connectors carry one channel to another Kafka, exactly once, and one to
a FIFO queue, and take in what a topic of that Kafka holds. Beside these, twenty subscriptions come
and go, to Kafka and to the endpoint, some of them for a few channels or types: every second or so
one is made, paused, resumed or deleted, and the relays' shared runs take them along. In the end all
topics, what the queue's consumer received and the endpoint's journal are read and compared with
what committed; of a subscription that came or went, with what committed between the snapshots of
the transactions that made and deleted it. Exits with 1 on any broken promise; data and logs are
kept then.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console

from local.server import StartError
from tests.chaos import report
from tests.chaos.campaign import Orders, run
from tests.chaos.plan import FAULTS, Fault

LINE_CHARACTERS = 110


def main() -> int:
    """0 for every promise kept, 1 for a broken one, 2 for a bad command line, 130 on Ctrl-C."""
    arguments = parser().parse_args()
    if arguments.list_faults:
        for fault in FAULTS.values():
            print(f"{fault.name:<16} {fault.what}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_CHARACTERS)
    orders = Orders(arguments.seed, arguments.seconds, arguments.faults, arguments.kills_at_least)
    directory = Path(tempfile.mkdtemp(prefix="outbox-chaos-"))
    directory.chmod(0o711)  # PostgreSQL may run as another user.
    kept = False
    try:
        kept = campaign(console, orders, directory)
        return 0 if kept else 1
    except KeyboardInterrupt:
        print("Stopped; nothing is left running.")
        return 130
    except (StartError, KafkaException, TimeoutError, psycopg.Error) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    finally:
        if kept and not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"data and logs: {directory}")


def campaign(console: Console, orders: Orders, directory: Path) -> bool:
    """Runs it and prints its report; whether every promise was kept."""
    began = time.monotonic()

    def tell(news: str) -> None:
        line = f"{time.monotonic() - began:7.2f}  {news}"
        with (directory / "campaign.log").open("a") as log:
            print(line, file=log)
        print(line, flush=True)

    result = run(orders, directory, tell)
    report.show(console, result)
    return result.right


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=f"{description} {rest}"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    parser.add_argument("--seconds", type=seconds, default=600, help="how long faults strike (600)")
    parser.add_argument(
        "--faults",
        type=faults,
        default=tuple(FAULTS.values()),
        metavar="A,B,…",
        help="only these; --list-faults names them (all)",
    )
    parser.add_argument(
        "--kills-at-least", type=int, default=0, metavar="N", help="fail with fewer kills -9 (0)"
    )
    parser.add_argument("--keep", action="store_true", help="keep data and logs in any case")
    parser.add_argument("--list-faults", action="store_true", help="name the faults and end")
    return parser


def seconds(text: str) -> float:
    """5 to 86,400 seconds. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 5 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds from 5 to 86400")
    return value


def faults(text: str) -> Sequence[Fault]:
    """Names of faults with commas between. Raises argparse.ArgumentTypeError."""
    names = text.split(",")
    if unknown := [name for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; there are {', '.join(FAULTS)}"
        )
    return tuple(FAULTS[name] for name in dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
