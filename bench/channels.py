"""`python -m bench.channels`: how a good channel fares beside channels that have no topic.

From commit to consumer, for a good channel: alone, while three hundred unknown channels come in one
transaction, and while a new one comes every second beside hundreds that wait already.
"""

import argparse
import threading
from collections.abc import Callable
from functools import partial
from time import sleep

from bench.arena import Arena, Connection
from bench.latency import TOPIC, percentile
from bench.latency import measure as measure_latency

MISSING = 300
SECONDS = 20
ROUNDS = 3
AT_ONCE = """
select outbox.publish('mistyped-' || n, 'event', '{}', 'g')
from generate_series(%s::integer, %s::integer) as n
"""
FORGET = "delete from outbox.cursor where channel is not null"
WAITING = "select count(*) from outbox.cursor where waiting_since is not null"

Beside = Callable[[Connection, threading.Event], None]


def no_other_channels(_: Connection, ended: threading.Event) -> None:
    ended.wait()


def at_once(connection: Connection, ended: threading.Event) -> None:
    ended.wait(SECONDS / 4)
    connection.execute(AT_ONCE, (1, MISSING))


def one_a_second(connection: Connection, ended: threading.Event) -> None:
    connection.execute(AT_ONCE, (1, MISSING - SECONDS))
    for n in range(MISSING - SECONDS + 1, MISSING + 1):
        ended.wait(1)
        connection.execute(AT_ONCE, (n, n))


PHASES: dict[str, Beside] = {
    "alone": no_other_channels,
    f"{MISSING} at once": at_once,
    f"one a second, up to {MISSING}": one_a_second,
}


def main() -> None:
    """One line a phase: the percentiles of all rounds together, in milliseconds."""
    parser = argparse.ArgumentParser("python -m bench.channels", description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="messages of the good channel /s")
    rate = parser.parse_args().rate
    consumed: dict[str, list[float]] = {name: [] for name in PHASES}
    with Arena.open() as arena:
        arena.make_topic(TOPIC)
        for _ in range(ROUNDS):
            for name, beside in PHASES.items():
                consumed[name] += measure(arena, rate, beside)
    alone = percentile(consumed["alone"], 99)
    for name, values in consumed.items():
        p50, p99 = percentile(values, 50), percentile(values, 99)
        print(
            f"{name:<28} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  x {p99 / alone:.2f}"
            f"  worst {max(values):6.1f} ms"
        )


def measure(arena: Arena, rate: int, beside: Beside) -> list[float]:
    """Milliseconds from commit to consumer of each message."""
    ended = threading.Event()
    with arena.connect() as connection, arena.connect() as watcher:
        watcher.execute(FORGET)
        other = threading.Thread(target=partial(later, beside, connection, ended))
        other.start()
        try:
            values = measure_latency(arena, rate, SECONDS).consumed
        finally:
            ended.set()
            other.join()
        print(f"  {watcher.execute(WAITING).fetchone()} channels waited at the end", flush=True)
    return values


def later(beside: Beside, connection: Connection, ended: threading.Event) -> None:
    """Not before the relay's first message, which it connects to Kafka with."""
    sleep(2)
    beside(connection, ended)


if __name__ == "__main__":
    main()
