"""A broker that is away for a while, by both ways of going, while messages keep coming.

How long the backlog takes to be gone once the broker answers again, what the relay's memory does
meanwhile, and whether the topic, read to its end, holds everything in order.
"""

import argparse
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.status import Status
from rich.table import Table

from bench.arena import Arena, Connection
from bench.writer import PUBLISH
from local.server import StartError
from tests.log_reader import Reckoning, read_log, reckon
from tests.relay.stage import memory_bytes
from tests.topic_reader import read_topic

MEBIBYTE = 1 << 20
PLAIN_WIDTH = 120
# Messages come for so long before the outage, and after it for the start of a broker and more.
BEFORE_SECONDS, AFTER_SECONDS = 5, 25
SAMPLE_SECONDS = 0.2
DRAIN_TIMEOUT_SECONDS = 120
# As many messages as come in this time are no backlog but on their way.
ON_THEIR_WAY_SECONDS = 0.1
TARGET_SECONDS = 5.0
VARIANTS = ("stopped, started again", "frozen, woken")


class Outage(msgspec.Struct, frozen=True):
    """One outage. Memory is the relay's resident set, in bytes: just before it, at the broker's
    return, and the most from its begin until the backlog was gone.
    """

    messages_per_second: float
    away_seconds: float
    backlog: int
    gone_after_seconds: float
    memory_before: int
    memory_at_return: int
    memory_peak: int
    reckoning: Reckoning


def main() -> int:
    """Prints one table. Returns 0, or 1 where a message is lost, altered or out of order."""
    arguments = _arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    outages: list[Outage] = []
    try:
        with console.status("starting Postgres and Kafka") as status, Arena.open() as arena:
            for number, variant in enumerate(VARIANTS):
                told = _telling(console, status, variant)
                outages.append(_measure(arena, number, arguments.rate, arguments.seconds, told))
    except StartError as failed:
        console.print(str(failed), style="red")
        return 1
    console.print(_table(outages, arguments.rate))
    owed = sum(
        len(one.reckoning.lost) + len(one.reckoning.strange) + len(one.reckoning.inverted)
        for one in outages
    )
    return 1 if owed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.outage",
        description=__doc__,
        epilog="Starts a Postgres and a Kafka of its own; the environment's are left alone.",
    )
    add = parser.add_argument
    add("--seconds", type=int, default=60, metavar="N", help="the broker is away for; 60")
    add("--rate", type=int, default=1000, metavar="N", help="messages a second; 1000")
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= 180:
        parser.error("--seconds: write a number from 1 to 180")
    if not 10 <= arguments.rate <= 5000:
        parser.error("--rate: write a number from 10 to 5000")
    return arguments


def _telling(console: Console, status: Status, variant: str) -> Callable[[str], None]:
    """Says how far it got: in place on a terminal, else line by line."""

    def tell(what: str) -> None:
        if console.is_terminal:
            status.update(f"{variant}: {what}")
        else:
            console.print(f"{variant}: {what}")

    return tell


def _measure(
    arena: Arena, number: int, rate: int, seconds: int, tell: Callable[[str], None]
) -> Outage:
    topic = f"bench.outage.{number}"
    arena.make_topic(topic)
    with arena.connect() as connection, arena.relay() as relay, _memory(relay.pid) as memory:
        tell("messages come")
        writes_for = BEFORE_SECONDS + seconds + AFTER_SECONDS
        writer = arena.start("writer", arena.database_url, PUBLISH, topic, rate, writes_for)
        try:
            time.sleep(BEFORE_SECONDS)
            tell(f"the broker is away for {seconds} s")
            gone_at = time.time()
            (arena.kafka.stop, arena.kafka.pause)[number]()
            time.sleep(max(0.0, gone_at + seconds - time.time()))
            tell("the broker comes back")
            (arena.kafka.launch, arena.kafka.resume)[number]()
            back_at = time.time()
            tell("the backlog is worked off")
        finally:
            written = arena.result(writer)
        _wait_until_all_is_gone(connection)
        history = History(connection, topic)
        drained_at = history.drained_at(back_at, rate * ON_THEIR_WAY_SECONDS)
        tell("the topic is read to its end")
        return Outage(
            messages_per_second=_rate([at for _, _, at in written]),
            away_seconds=back_at - gone_at,
            backlog=history.backlog(back_at),
            gone_after_seconds=drained_at - back_at,
            memory_before=[size for at, size in memory if at <= gone_at][-1],
            memory_at_return=[size for at, size in memory if at <= back_at][-1],
            memory_peak=max(size for at, size in memory if gone_at < at <= drained_at + 1),
            reckoning=reckon(
                read_log(arena.database_url, topic),
                read_topic(arena.kafka.bootstrap_servers, topic),
            ),
        )


def _rate(nanoseconds: Sequence[int]) -> float:
    return (len(nanoseconds) - 1) / (max(nanoseconds) - min(nanoseconds)) * 1e9


@contextmanager
def _memory(pid: int) -> Iterator[Sequence[tuple[float, int]]]:
    """(unix seconds, bytes) of a process, sampled for as long as the context lasts."""
    samples = [(time.time(), memory_bytes(pid))]
    ends = threading.Event()

    def sample() -> None:
        while not ends.wait(SAMPLE_SECONDS):
            samples.append((time.time(), memory_bytes(pid)))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        ends.set()
        sampler.join()


PENDING = "select coalesce(sum(messages), 0) from outbox.subscription_backlog"


def _wait_until_all_is_gone(connection: Connection) -> None:
    deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
    while (row := connection.execute(PENDING).fetchone()) is None or row[0]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"messages are pending after {DRAIN_TIMEOUT_SECONDS} s: {row}")
        time.sleep(SAMPLE_SECONDS)


PUBLISHED = """
select extract(epoch from created_at)::float8 from outbox.message
where channel = %(topic)s
order by created_at
"""
# Both in one: the runs of a channel that had the log to itself since its first message.
CHECKPOINTS = """
select extract(epoch from created_at)::float8, messages from outbox.checkpoint
where messages > 0
  and created_at >= (select min(created_at) from outbox.message where channel = %(topic)s)
order by created_at
"""


class History:
    """What had come and what had gone at any time, by the log and the checkpoints."""

    def __init__(self, connection: Connection, topic: str) -> None:
        parameters = {"topic": topic}
        self._published = [at for (at,) in connection.execute(PUBLISHED, parameters)]
        self._gone_at: list[float] = []
        self._gone: list[int] = [0]
        for at, messages in connection.execute(CHECKPOINTS, parameters):
            self._gone_at.append(at)
            self._gone.append(self._gone[-1] + messages)

    def backlog(self, at: float) -> int:
        """How many messages had been published and were not acknowledged."""
        return bisect_right(self._published, at) - self._gone[bisect_right(self._gone_at, at)]

    def drained_at(self, since: float, at_most: float) -> float:
        """When the backlog first was no larger than `at_most`."""
        return next(
            at for at in [since, *self._gone_at] if at >= since and self.backlog(at) <= at_most
        )


def _table(outages: Sequence[Outage], rate: int) -> Table:
    made = Table(
        title=f"The broker is away, {rate} messages/s keep coming",
        title_justify="left",
        header_style="bold",
    )
    made.add_column("figure")
    for variant in VARIANTS:
        made.add_column(variant, justify="right")
    rows: dict[str, Callable[[Outage], str]] = {
        "messages written a second": lambda one: f"{one.messages_per_second:.0f}",
        "away": lambda one: f"{one.away_seconds:.1f} s",
        "backlog when the broker answers again": lambda one: f"{one.backlog}",
        f"gone after (target ≤ {TARGET_SECONDS:.0f} s)": lambda one: (
            f"{one.gone_after_seconds:.2f} s"
        ),
        "relay's memory before": lambda one: _mebibytes(one.memory_before),
        "at the broker's return": lambda one: _mebibytes(one.memory_at_return),
        "at its peak": lambda one: _mebibytes(one.memory_peak),
        "lost": lambda one: f"{len(one.reckoning.lost)}",
        "altered or unknown": lambda one: f"{len(one.reckoning.strange)}",
        "first arrivals out of order": lambda one: f"{len(one.reckoning.inverted)}",
        "repeats": lambda one: f"{one.reckoning.repeats}",
    }
    for name, cell in rows.items():
        made.add_row(name, *map(cell, outages))
    return made


def _mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
