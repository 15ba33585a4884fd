"""`python -m bench.inward`: records of a topic into the log, beside two loops that copy.

The bare loop leaves the records' headers out; the other has them as JSON, as the log keeps them.
Both note no position and look at nothing. Processor time is that of the loop or the relay, of
Postgres and of the broker; the relay's holds its start as well.
"""

import argparse
import statistics
import sys
import time

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

    def __str__(self) -> str:
        return (
            f"{self.rate:9,.0f} /s, µs a record: {self.client:5.1f} + Postgres {self.postgres:5.1f}"
            f" + broker {self.broker:4.1f}"
        )


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    parser = argparse.ArgumentParser(prog="python -m bench.inward", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
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
    bare, with_headers = [], []
    # The first round warms all up.
    for number in range(rounds + 1):
        loops = [_loop(arena, records, headers) for headers in (False, True)]
        relay = _relay(arena, records)
        print("bare loop        ", loops[0])
        print("loop with headers", loops[1])
        print("relay            ", relay, "" if number else "  (warming up)", flush=True)
        if number:
            bare.append(relay.rate / loops[0].rate)
            with_headers.append(relay.rate / loops[1].rate)
    print(f"records into the log ÷ bare loop: {statistics.median(bare):.2f} (target ≥ {TARGET})")
    print(f"÷ loop with headers: {statistics.median(with_headers):.2f}")


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


def _servers(arena: Arena) -> tuple[float, float]:
    return cpu_seconds(arena.postgres.pid), cpu_seconds(arena.kafka.pid)


def _measured(
    arena: Arena, records: int, rate: float, client: float, before: tuple[float, float]
) -> Measured:
    postgres, broker = (
        (now - used) / records * 1e6 for now, used in zip(_servers(arena), before, strict=True)
    )
    return Measured(rate, client / records * 1e6, postgres, broker)


def _loop(arena: Arena, records: int, with_headers: bool) -> Measured:
    _empty(arena)
    bootstrap_servers = arena.kafka.bootstrap_servers
    before = _servers(arena)
    measured = arena.measure(
        "plain_inward", arena.database_url, bootstrap_servers, TOPIC, records, int(with_headers)
    )
    rate = records / float(measured["seconds"])
    return _measured(arena, records, rate, measured["cpu_seconds"], before)


def _relay(arena: Arena, records: int) -> Measured:
    """The rate is from the first batch that is in: the relay's start is no part of it."""
    _empty(arena)
    with arena.connect() as connection, arena.relay() as relay:
        before, used = _servers(arena), cpu_seconds(relay.pid)
        config = Jsonb({"topic": TOPIC})
        connection.execute("select outbox.connect_in('inward', 'entered', 'kafka', %s)", (config,))
        first = began_at = 0.0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            row = connection.execute(MOVED).fetchone()
            entered = int(row[0]) if row else 0
            now = time.monotonic()
            if entered and not first:
                first, began_at = float(entered), now
            if entered == records == first:
                raise RuntimeError(f"{records} records are too few to measure")
            if entered == records:
                rate = (records - first) / (now - began_at)
                used = cpu_seconds(relay.pid) - used
                return _measured(arena, records, rate, used, before)
            if now > deadline:
                raise RuntimeError(f"{entered} of {records} entered in time")
            time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
