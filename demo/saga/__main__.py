"""`make demo-saga`: orders across four services, kills and a reckoning.

On real Postgres and real Kafka; ends by itself.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console

from demo.console import conduct, print_errors, print_verdict
from demo.saga import panel, report
from demo.saga.customers import OPEN_SECONDS, Customers, NotServed
from demo.saga.fleet import Fleet, fleet
from demo.saga.places import Places, places
from demo.saga.purchases import purchases
from demo.saga.reckoning import reckon
from demo.saga.scenario import play
from demo.saga.troubles import ALL_KILLS, Trouble, troubles
from demo.screen import screen
from local.server import StartError
from local.stack import Stack, temporary_directory


def main() -> int:
    """0 if everything is as it must be, 1 if anything is off or doesn't start, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo.saga", description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of everything that is drawn (7)")
    parser.add_argument("--orders", type=int, default=300, help="how many at most (300)")
    parser.add_argument(
        "--kills",
        type=int,
        default=ALL_KILLS,
        help=f"how many processes are killed ({ALL_KILLS}, of which 5 stay away for a while; "
        "with fewer none does)",
    )
    arguments = parser.parse_args()
    if arguments.orders < 1 or not 0 <= arguments.kills <= ALL_KILLS:
        parser.error(f"--orders: at least 1; --kills: 0 to {ALL_KILLS}")
    return conduct(lambda console: run(console, arguments.seed, arguments.orders, arguments.kills))


def run(console: Console, seed: int, orders: int, kills: int) -> int:
    """The whole demo. Raises StartError, KafkaException, psycopg.Error."""
    began = time.monotonic()
    random = Random(seed)
    bought = purchases(random, orders)
    planned = troubles(random, orders, kills)
    with temporary_directory() as directory:
        console.print("Starting Postgres and Kafka …")
        with (
            quick_stack(directory) as stack,
            places(stack, directory, orders) as here,
            fleet(here, directory) as company,
        ):
            company.servers = [each for each in (stack.postgres, stack.kafka) if each]
            customers = Customers(company.order_url, bought)
            is_over = perform(console, here, company, customers, planned)
            reckoning = reckon(here, customers)
            report.show(console, reckoning)
            right = is_over and reckoning.right
    if len(customers.ordered) < orders:
        console.print(f"The shop closed after {OPEN_SECONDS:.0f} s, before all had ordered.")
    print_verdict(
        console,
        right,
        orders=len(customers.ordered),
        kills=sum(company.kills.values()),
        seconds=time.monotonic() - began,
        seed=seed,
    )
    return 0 if right else 1


@contextmanager
def quick_stack(directory: Path) -> Iterator[Stack]:
    """Servers whose data nobody wants: Kafka's orderly stop would take seconds."""
    with Stack.start(directory, quick_start=True) as stack:
        try:
            yield stack
        finally:
            if stack.kafka is not None:
                stack.kafka.kill()


def perform(
    console: Console,
    here: Places,
    company: Fleet,
    customers: Customers,
    planned: Sequence[Trouble],
) -> bool:
    """Whether it came to its end; why it did not is printed."""
    with screen(console, panel.draw, panel.line) as show:
        try:
            asyncio.run(play(here, company, customers, planned, show))
            return True
        except* (StartError, NotServed, KafkaException, OSError, psycopg.Error) as group:
            print_errors(console, group)
    return False


if __name__ == "__main__":
    sys.exit(main())
