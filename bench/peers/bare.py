"""The ceiling: the same messages, held in memory, through a bare produce loop."""

import subprocess
import sys
import time
from collections.abc import Callable

from bench.arena import Arena
from bench.bare import prepare, send
from bench.messages import fill_log
from bench.peers.topic import Arrivals, Topic
from bench.peers.turn import DRAIN_TIMEOUT_SECONDS, SETTLE_SECONDS, Drain, Measured, Plan
from bench.process import cpu_seconds
from bench.producing import producer

NAME = "bare"
TOPIC = "peers.bare"


def measure(arena: Arena, plan: Plan, say: Callable[[str], None]) -> Measured:
    """Raises RuntimeError and what Postgres and Kafka raise."""
    arena.make_topic(TOPIC)
    topic = Topic(arena.kafka.bootstrap_servers, TOPIC)
    drains = []
    with arena.connect() as connection:
        fill_log(connection, plan.messages)
    for number in range(plan.rounds + 1):
        say(f"drain {number} of {plan.rounds}" if number else "warm-up")
        drains.append(_drain(arena, topic, plan.messages))
    topic.delete()
    return Measured(drains=drains[1:], held=[], latency=None, peak_memory_bytes=None)


def _drain(arena: Arena, topic: Topic, messages: int) -> Drain:
    servers = arena.kafka.bootstrap_servers
    command = [sys.executable, "-m", "bench.peers.bare", arena.database_url, servers, topic.name]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=arena.environment
    )
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            start, used = topic.ends(), cpu_seconds(process.pid)
            began_at = time.monotonic()
            process.stdin.write(b"go\n")
            process.stdin.flush()
            arrivals = Arrivals(topic, start, messages, DRAIN_TIMEOUT_SECONDS)
            arrivals.settle(SETTLE_SECONDS)
            used = cpu_seconds(process.pid) - used
            ended_at = arrivals.ended_at()
        finally:
            process.kill()
    assert ended_at is not None, "an idempotent producer left something out"
    return Drain(
        messages=messages,
        seconds=ended_at - began_at,
        relay_seconds=used,
        postgres_seconds=0,
        wal_bytes=0,
    )


def main(database_url: str, bootstrap_servers: str, topic: str) -> None:
    """Reads the log, says that it is ready, waits for a line, produces, waits for its end."""
    rows = prepare(database_url)
    sink = producer(bootstrap_servers, topic)
    print("ready", flush=True)
    sys.stdin.readline()
    send(sink, topic, rows)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
