"""`python -m bench.inward`: records of a topic into the log, beside two loops that copy.

The bare loop leaves the records' headers out; the other has them as JSON, as the log keeps them.
Both note no position and look at nothing. Each is measured from its first commit to its last, so
that no start is a part of it: records a second, and processor time of the loop or the relay, of
Postgres and of the broker.
"""

import argparse
import statistics
import sys
import time
from typing import Self

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from bench.arena import Arena
from bench.process import cpu_seconds
from bench.producing import flush, headers, producer
from local.server import StartError

TOPIC = "inward"
PAYLOAD = b'{"n": 0, "text": "' + b"x" * 480 + b'"}'
KEYS = 1000
PATIENCE_SECONDS = 300
MOVED = "select coalesce(sum(entered), 0)::bigint from outbox.source_position"
TARGET = 0.7


class Measured(msgspec.Struct, frozen=True):
    """Records a second, and microseconds of processor time for each."""

    rate: float
    client: float
    postgres: float
    broker: float

    @property
    def processor(self) -> float:
        """Of all three."""
        return self.client + self.postgres + self.broker

    def __str__(self) -> str:
        return (
            f"{self.rate:9,.0f} /s, µs a record: {self.client:5.1f} + Postgres {self.postgres:5.1f}"
            f" + broker {self.broker:4.1f}"
        )


class Moment(msgspec.Struct, frozen=True):
    """How many records were in, and what processor time each had used by then, in seconds."""

    records: int
    seconds: float
    client: float
    postgres: float
    broker: float

    @classmethod
    def now(cls, arena: Arena, client_pid: int, records: int) -> Self:
        """As it is."""
        servers = cpu_seconds(arena.postgres.pid), cpu_seconds(arena.kafka.pid)
        return cls(records, time.monotonic(), cpu_seconds(client_pid), *servers)

    def until(self, last: Self) -> Measured:
        """What was measured between the two."""
        records = last.records - self.records
        if records <= 0:
            raise RuntimeError(f"{last.records} records are too few to measure")
        return Measured(
            records / (last.seconds - self.seconds),
            (last.client - self.client) / records * 1e6,
            (last.postgres - self.postgres) / records * 1e6,
            (last.broker - self.broker) / records * 1e6,
        )


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    parser = argparse.ArgumentParser(prog="python -m bench.inward", description=__doc__)
    parser.add_argument("--records", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        with Arena.open() as arena:
            _measure(arena, arguments.records, arguments.rounds)
    except (StartError, RuntimeError, psycopg.Error) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def _measure(arena: Arena, records: int, rounds: int) -> None:
    arena.make_topic(TOPIC)
    _fill(arena, records)
    with arena.connect() as connection:
        connection.execute("update outbox.subscription set paused = true")
    loops: tuple[list[Measured], list[Measured]] = ([], [])
    relayed: list[Measured] = []
    # The first round warms all up.
    for number in range(rounds + 1):
        measured = [_loop(arena, records, with_headers) for with_headers in (False, True)]
        relay = _relay(arena, records)
        print("bare loop        ", measured[0])
        print("loop with headers", measured[1])
        print("relay            ", relay, "" if number else "  (warming up)", flush=True)
        if number:
            relayed.append(relay)
            for loop, one in zip(loops, measured, strict=True):
                loop.append(one)
    _say("bare loop", relayed, loops[0])
    _say("loop with headers", relayed, loops[1])


def _say(beside: str, relayed: list[Measured], loops: list[Measured]) -> None:
    """The medians of the pairs, and the verdict."""
    pairs = list(zip(relayed, loops, strict=True))
    rate = statistics.median(relay.rate / loop.rate for relay, loop in pairs)
    processor = statistics.median(loop.processor / relay.processor for relay, loop in pairs)
    met = "met" if rate >= TARGET else "not met"
    print(
        f"records into the log ÷ {beside}: {rate:.2f} (target ≥ {TARGET}: {met}); "
        f"by processor time for each: {processor:.2f}"
    )


def _fill(arena: Arena, records: int) -> None:
    arena.make_topic(TOPIC + ".warm")
    sink = producer(arena.kafka.bootstrap_servers, TOPIC + ".warm")
    for n in range(records):
        made = headers(b"order.paid", b"key-%d" % n, b"application/json", n)
        sink.produce(TOPIC, PAYLOAD, b"k%d" % (n % KEYS), headers=made)
        if n % 10_000 == 0:
            flush(sink)
    flush(sink)


def _empty(arena: Arena) -> None:
    with arena.connect() as connection:
        connection.execute("truncate outbox.message")
        connection.execute("delete from outbox.source")


def _loop(arena: Arena, records: int, with_headers: bool) -> Measured:
    _empty(arena)
    bootstrap_servers = arena.kafka.bootstrap_servers
    arguments = (arena.database_url, bootstrap_servers, TOPIC, records, int(with_headers))
    with arena.start("plain_inward", *arguments) as process:
        assert process.stdout is not None
        first = last = None
        for line in process.stdout:
            if first is None:
                first = Moment.now(arena, process.pid, int(line))
            if int(line) == records:
                last = Moment.now(arena, process.pid, records)
    if first is None or last is None:
        raise RuntimeError(f"the loop ended with {process.returncode}")
    return first.until(last)


def _relay(arena: Arena, records: int) -> Measured:
    _empty(arena)
    with arena.connect() as connection, arena.relay() as relay:
        config = Jsonb({"topic": TOPIC})
        connection.execute("select outbox.connect_in('inward', 'entered', 'kafka', %s)", (config,))
        first: Moment | None = None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            row = connection.execute(MOVED).fetchone()
            entered = int(row[0]) if row else 0
            if entered and first is None:
                first = Moment.now(arena, relay.pid, entered)
            if entered == records and first is not None:
                return first.until(Moment.now(arena, relay.pid, entered))
            time.sleep(0.02)
    raise RuntimeError(f"{entered} of {records} entered in time")


if __name__ == "__main__":
    sys.exit(main())
