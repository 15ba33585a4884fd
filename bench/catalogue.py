"""`make bench-catalogue`: what a publish costs more where its type is enforced.

An `order.created` of 500 bytes is published by SQL in four databases of one server: without event
types, with those of the sale enforced by none, by `report` and by `refuse`. First by one statement
that publishes thousands of times, so that nothing but the publish counts, then by pgbench, a
transaction for each.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bench import pgbench
from bench.arena import POSTGRES_SETTINGS
from bench.figures import Figure, Section, at_most, ratio
from bench.screen import Screen
from local.postgres import Postgres
from local.stack import temporary_directory
from relay import migrations
from relay.database import Connection
from relay.operate import catalogue, event_type_files
from service.payments.event_types import DIRECTORY, examples
from service.payments.lifecycle import CREATED

BYTES = 500
CLIENTS = 2
MICROSECONDS = "{:.1f} µs"
LITTLE_MORE = at_most(60.0)
# Neither database has the trigger: what is beyond 1 is noise.
NO_MORE = at_most(1.05)

Enforcement = Literal["off", "report", "refuse"]

# Databases, each with how the types are enforced there; None: there are none.
CANDIDATES: Final[dict[str, Enforcement | None]] = {
    "without": None,
    "off": "off",
    "report": "report",
    "refuse": "refuse",
}


class Measured(msgspec.Struct, frozen=True):
    """Of one database, one value for each round."""

    microseconds: list[float]
    transactions: list[float]


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    arguments, screen = _arguments(), Screen()
    return screen.run(_measure(arguments, screen.tell), screen.show)


def _measure(arguments: argparse.Namespace, tell: Callable[[str], None]) -> Iterator[Section]:
    with databases() as (urls, directory):
        tell(f"four databases are there, {arguments.rounds} rounds begin after a first one")
        measured = measure(
            urls, directory, arguments.rounds, arguments.publishes, arguments.seconds, tell
        )
    yield Section(
        "Publish by SQL, an order.created of 500 bytes",
        figures(measured),
        f"{arguments.publishes} publishes by one statement, and pgbench with {CLIENTS} sessions "
        f"for {arguments.seconds} s, in each database by turns; median of {arguments.rounds}.",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.catalogue",
        description=__doc__,
        epilog="Starts a Postgres of its own; that of the environment is left alone.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=7, metavar="N", help="of all four, 1 to 50; 7")
    add("--publishes", type=int, default=20_000, metavar="N", help="by one statement; 20000")
    add("--seconds", type=int, default=5, metavar="N", help="of pgbench for each, 1 to 60; 5")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds <= 50:
        parser.error("--rounds: write a number from 1 to 50")
    if not 100 <= arguments.publishes <= 1_000_000:
        parser.error("--publishes: write a number from 100 to 1000000")
    if not 1 <= arguments.seconds <= 60:
        parser.error("--seconds: write a number from 1 to 60")
    return arguments


@contextmanager
def databases() -> Iterator[tuple[dict[str, str], Path]]:
    """The URL of each candidate's, on a server of their own, and a directory for scripts."""
    with temporary_directory() as directory:
        postgres = Postgres.start(directory / "postgres", settings=POSTGRES_SETTINGS)
        with postgres, psycopg.connect(postgres.dsn(), autocommit=True) as server:
            urls = {}
            for name, enforcement in CANDIDATES.items():
                server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
                urls[name] = make_conninfo(postgres.dsn(), dbname=name)
                with psycopg.connect(urls[name], autocommit=True) as connection:
                    prepare(connection, enforcement)
            yield urls, directory


def prepare(connection: Connection, enforcement: Enforcement | None) -> None:
    """Migrates an empty database, and registers the sale's types there, enforced so."""
    for _ in migrations.migrate(connection, outbox_only=False):
        pass
    if enforcement is not None:
        catalogue.apply(
            connection,
            {
                path: replace(definition, enforcement=enforcement)
                for path, definition in event_type_files.read(DIRECTORY).items()
            },
        )


def payload() -> str:
    """An order.created of so many bytes, its customer's id as long as that takes."""

    def encoded(customer_id: str) -> bytes:
        return msgspec.json.encode(replace(order, customer_id=customer_id))

    items = [replace(examples.ITEMS[0], id=UUID(int=n)) for n in range(2)]
    order = replace(examples.CREATED, items=items)
    return encoded("c" * (BYTES - len(encoded("")))).decode()


def measure(
    urls: Mapping[str, str],
    directory: Path,
    rounds: int,
    publishes: int,
    seconds: int,
    tell: Callable[[str], None],
) -> dict[str, Measured]:
    """By turns; a first round is not counted. What was published is gone in the end."""
    measured = {name: Measured([], []) for name in urls}
    script = directory / "publish.sql"
    script.write_text(SCRIPT.format(payload().replace(":", "\\x3a"), event=CREATED))
    for turn in range(rounds + 1):
        for name, url in urls.items():
            with psycopg.connect(url, autocommit=True) as connection:
                microseconds = _microseconds(connection, publishes)
                connection.execute("truncate outbox.message")
                options = [f"--client={CLIENTS}", f"--jobs={CLIENTS}", f"--time={seconds}"]
                transactions = pgbench.rate(url, script, *options)
                connection.execute("truncate outbox.message")
            if turn:
                measured[name].microseconds.append(microseconds)
                measured[name].transactions.append(transactions)
        tell(f"round {turn} of {rounds} is over")
    return measured


PUBLISH = """
    select count(outbox.publish(%(channel)s, %(type)s, %(payload)s::json, group_key => n::text))
    from generate_series(1, %(publishes)s) as n
"""
# pgbench would take a colon in a text for the beginning of a variable.
SCRIPT = """
\\set n random(1, 1000)
select outbox.publish('{event.channel}', '{event.name}', E'{0}'::json, group_key => (:n)::text);
"""


def _microseconds(connection: Connection, publishes: int) -> float:
    """Of one publish."""
    parameters = {
        "channel": CREATED.channel,
        "type": CREATED.name,
        "payload": payload(),
        "publishes": publishes,
    }
    began_at = time.perf_counter()
    connection.execute(PUBLISH, parameters)
    return (time.perf_counter() - began_at) / publishes * 1e6


def figures(measured: Mapping[str, Measured]) -> list[Figure]:
    """Compared round by round, so that what slows a whole round down counts for nothing."""
    without, off, report, refuse = (measured[name] for name in CANDIDATES)
    found = [
        Figure("a publish, without event types", without.microseconds, MICROSECONDS),
        Figure("  none of them enforced", off.microseconds, MICROSECONDS),
        Figure("    ÷ without", _ratios(off.microseconds, without.microseconds), "{:.2f}", NO_MORE),
    ]
    for name, one in (("report", report), ("refuse", refuse)):
        more = [a - b for a, b in zip(one.microseconds, without.microseconds, strict=True)]
        found += [
            Figure(f"  enforced by {name}", one.microseconds, MICROSECONDS),
            Figure("    more than without", more, MICROSECONDS, LITTLE_MORE),
        ]
    found += [
        Figure(
            f"transactions of {CLIENTS} sessions, without event types",
            without.transactions,
            "{:,.0f} /s",
        ),
        ratio("  none of them enforced ÷ without", off.transactions, without.transactions),
        ratio("  enforced by report ÷ without", report.transactions, without.transactions),
        ratio("  enforced by refuse ÷ without", refuse.transactions, without.transactions),
    ]
    return found


def _ratios(dividends: Sequence[float], divisors: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(dividends, divisors, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
