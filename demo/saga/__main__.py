"""`make demo-saga`: orders across four services, kills and a reckoning.

On real Postgres and real Kafka; ends by itself.
"""

import argparse
import asyncio
import sys
import time
from random import Random

from confluent_kafka import KafkaException
from rich.console import Console

from demo import panel as screens
from demo.__main__ import conduct, leaves
from demo.saga import panel, report
from demo.saga.customers import Customers, NotServed
from demo.saga.fleet import fleet
from demo.saga.places import places
from demo.saga.purchases import purchases
from demo.saga.reckoning import reckon
from demo.saga.scenario import play
from demo.saga.troubles import ALL_KILLS, troubles
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
        with Stack.start(directory, quick_start=True) as stack:
            with places(stack, directory, orders) as here, fleet(here, directory) as company:
                company.servers = [each for each in (stack.postgres, stack.kafka) if each]
                customers = Customers(company.order_url, bought)
                is_over = False
                with screens.screen(console, panel.draw, panel.line) as screen:
                    try:
                        asyncio.run(play(here, company, customers, planned, orders, screen))
                        is_over = True
                    except* (StartError, NotServed, KafkaException, OSError) as group:
                        for error in leaves(group):
                            words = f"{type(error).__name__}: {error}"
                            console.print(words, style="red", markup=False)
                reckoning = reckon(here, customers)
                report.show(console, reckoning)
                right = is_over and reckoning.right
                taken = len(customers.ordered)
                killed = sum(company.kills.values())
            # An orderly stop takes seconds, and its data go anyway.
            if stack.kafka is not None:
                stack.kafka.kill()
    seconds = time.monotonic() - began
    verdict = "Everything is as it must be" if right else "SOMETHING IS OFF"
    console.print(
        f"{verdict}: {taken} orders, {killed} kills -9, {seconds:.0f} s, seed {seed}.",
        style="bold green" if right else "bold red",
        highlight=False,
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
