"""`python -m bench.inward`: records of a topic into the log, beside a bare loop that copies."""

import argparse
import statistics
import sys
import time

import psycopg
from psycopg.types.json import Jsonb

from bench.arena import Arena
from bench.producing import flush, headers, producer
from local.server import StartError

TOPIC = "inward"
PAYLOAD = b'{"n": 0, "text": "' + b"x" * 480 + b'"}'
KEYS = 1000
PATIENCE_SECONDS = 300
MOVED = "select coalesce(sum(entered), 0)::bigint from outbox.source_position"
TARGET = 0.7


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
    ratios = []
    # The first round warms both up.
    for number in range(rounds + 1):
        bare = _bare(arena, records)
        relay = _relay(arena, records)
        shown = f"bare {bare:9,.0f} /s   relay {relay:9,.0f} /s   ratio {relay / bare:.2f}"
        print(shown if number else f"{shown}   (warming up)", flush=True)
        if number:
            ratios.append(relay / bare)
    print(f"records into the log ÷ bare loop: {statistics.median(ratios):.2f} (target ≥ {TARGET})")


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


def _bare(arena: Arena, records: int) -> float:
    _empty(arena)
    servers = arena.kafka.bootstrap_servers
    measured = arena.measure("plain_inward", arena.database_url, servers, TOPIC, records)
    return records / float(measured["seconds"])


def _relay(arena: Arena, records: int) -> float:
    """Counted from the first batch that is in: the relay's start is no part of it."""
    _empty(arena)
    with arena.connect() as connection:
        config = Jsonb({"topic": TOPIC})
        connection.execute("select outbox.connect_in('inward', 'entered', 'kafka', %s)", (config,))
        with arena.relay():
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
                    return (records - first) / (now - began_at)
                if now > deadline:
                    raise RuntimeError(f"{entered} of {records} entered in time")
                time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
