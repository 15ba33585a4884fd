"""`make demo`: payments, webhooks, kills and a reckoning, on real Postgres and real Kafka."""

import argparse
import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg
from confluent_kafka import KafkaException
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from demo import panel, plan, report
from demo.fleet import Fleet, fleet
from demo.places import Places, Servers, places, servers
from demo.plan import Story
from demo.provider import Refused
from demo.reckoning import reckon
from demo.scenario import play
from demo.subscriptions import ApiError
from demo.till import Till
from local.postgres_binaries import bin_dir
from local.server import StartError
from local.stack import temporary_directory

LINE_CHARACTERS = 100
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


def conduct(play: Callable[[Console], int]) -> int:
    """The exit status of what is played, of Ctrl-C, or of what doesn't start, which is printed."""
    # Passed on, because asyncio knows how to end in order on this one.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_CHARACTERS)
    try:
        return play(console)
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    except (StartError, KafkaException, OSError, psycopg.Error) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


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
            verdict = "Everything is as it must be" if right else "SOMETHING IS OFF"
            count, kills = len(played or stories), sum(company.kills.values())
            seconds = time.monotonic() - began
            console.print(
                f"{verdict}: {count} orders, {kills} kills -9, {seconds:.0f} s, seed {seed}.",
                style="bold green" if right else "bold red",
                highlight=False,
            )
            if stay:
                wait_for_ctrl_c(console, started, here, directory)
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
    with panel.screen(console, panel.draw, panel.line) as screen:
        try:
            return asyncio.run(play(here, company, stories, kills, random, till, screen))
        except* (StartError, Refused, ApiError, KafkaException, OSError) as group:
            for error in leaves(group):
                console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
    return None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def wait_for_ctrl_c(console: Console, started: Servers, here: Places, directory: Path) -> None:
    """Tells how to look around, and waits."""
    name = conninfo_to_dict(here.sale)["dbname"]
    # A URL from the environment may hold a password: it is not printed.
    database = f"a database {name!r} where DATABASE_URL says"
    postgres = started.stack.postgres
    if postgres is not None:
        database = f"{bin_dir() / 'psql'} {shlex.quote(postgres.dsn(str(name)))}"
    console.print(
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
