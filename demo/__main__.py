"""`make demo`: payments, webhooks, kills and a reckoning, on real Postgres and real Kafka."""

import argparse
import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from demo import panel, plan, report
from demo.console import conduct, print_errors, print_verdict
from demo.fleet import Fleet, fleet
from demo.places import Places, Servers, places, servers
from demo.plan import Story
from demo.provider import Refused
from demo.reckoning import reckon
from demo.scenario import play
from demo.screen import screen
from demo.subscriptions import ApiError
from demo.till import Till
from local.postgres_binaries import bin_dir
from local.server import StartError
from local.stack import temporary_directory

FEWEST_ORDERS = 40
KILLS = {
    "relay-1": 3,
    "relay-2": 2,
    "relay-3": 2,
    "service-1": 2,
    "service-2": 1,
    "inventory": 1,
    "finance": 1,
}


def main() -> int:
    """0 if everything is as it must be, 1 if anything is off or doesn't start, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of everything that is drawn (7)")
    parser.add_argument("--orders", type=int, default=240, help="how many orders at most (240)")
    parser.add_argument("--stay", action="store_true", help="keep all of it until Ctrl-C")
    arguments = parser.parse_args()
    if arguments.orders < FEWEST_ORDERS:
        parser.error(f"--orders: at least {FEWEST_ORDERS}, so that everything can happen")
    return conduct(lambda console: run(console, arguments.seed, arguments.orders, arguments.stay))


def run(console: Console, seed: int, orders: int, stay: bool) -> int:
    """The whole demo. Raises StartError, KafkaException, TimeoutError, psycopg.Error."""
    began = time.monotonic()
    random = Random(seed)
    stories = plan.stories(random, orders)
    with temporary_directory() as directory:
        console.print("Starting Postgres, two Kafkas and a queue …")
        with (
            servers(directory) as started,
            places(started, directory) as here,
            fleet(here, directory) as company,
        ):
            till = Till(company.service_urls)
            played = perform(console, company, here, stories, random, till)
            reckoning = reckon(here, stories if played is None else played, till)
            print(company.status())
            report.show(console, reckoning)
            right = played is not None and reckoning.right
            print_verdict(
                console,
                right,
                orders=len(played or stories),
                kills=sum(company.kills.values()),
                seconds=time.monotonic() - began,
                seed=seed,
            )
            if stay:
                wait_for_ctrl_c(console, started, here, company, directory)
            else:
                console.print("To look around in it: .venv/bin/python -m demo --stay")
    return 0 if right else 1


def perform(
    console: Console,
    company: Fleet,
    here: Places,
    stories: list[Story],
    random: Random,
    till: Till,
) -> Sequence[Story] | None:
    """The stories that were played; None where it came to no good end, and why is printed."""
    kills = plan.kills(random, len(stories), KILLS)
    with screen(console, panel.draw, panel.line) as show:
        try:
            return asyncio.run(play(here, company, stories, kills, random, till, show))
        except* (StartError, Refused, ApiError, KafkaException, OSError) as group:
            print_errors(console, group)
    return None


def wait_for_ctrl_c(
    console: Console, started: Servers, here: Places, company: Fleet, directory: Path
) -> None:
    """Tells how to look around, and waits."""
    name = conninfo_to_dict(here.sale)["dbname"]
    # A URL from the environment may hold a password: it is not printed.
    database = f"a database {name!r} where DATABASE_URL says"
    postgres = started.stack.postgres
    if postgres is not None:
        database = f"{bin_dir() / 'psql'} {shlex.quote(postgres.dsn(str(name)))}"
    console.print(
        f"console   {company.service_urls[0]}/console\n"
        f"          sign in with the API key {company.create_operator()}\n"
        f"database  {database}\n"
        f"          psql -f sql/inspect/throughput.sql, backlog.sql, next_messages.sql, …\n"
        f"Kafka     {here.bootstrap_servers}, topics {here.prefix}*\n"
        f"the other {here.other_bootstrap_servers}, topic {here.other_topic}\n"
        f"records   {directory}/*.sqlite, of the subscribers\n"
        f"logs      {directory}/*.log\n"
        "Ctrl-C ends it.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    with suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
