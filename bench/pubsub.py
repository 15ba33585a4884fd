"""`python -m bench.pubsub`: a backlog to a topic beside a bare loop of Google's stub, one table.

The server is this project's own, in a process of its own on the same cores. Each way is taken
with ordering, where each message has a request of its own, and without, where a hundred share one.
Both take turns, and the medians are told. The rate is that of the messages as they come there, from
the first request to the last; of the relay's processor time its start is left out.
"""

import argparse
import resource
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import psycopg
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from local.postgres import Postgres
from local.program import Program, script
from local.pubsub import PROJECT, PubSub
from local.server import StartError
from local.stack import create_database, temporary_directory
from relay.push.pubsub.session import MAX_MESSAGES

GROUPS = 500
BYTES = 500
IN_FLIGHT = 400
CONNECT = "select outbox.connect(%s, 'orders', 'pubsub', %s)"
FILL = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'order.paid', 'g' || n %% %s,
       convert_to(json_build_object('x', repeat('x', %s))::text, 'UTF8')
from generate_series(1, %s) as n
"""
DONE = "select coalesce(sum(messages), 0) from outbox.checkpoint"
WITHIN_SECONDS = 600.0
# Of so few the processor time is that of the relay's start.
FEW = 200
TARGET = 0.7

# Messages a second, and microseconds of the client's processor for each.
Measured = tuple[float, float]


def main() -> int:
    """0 when all was measured; 1 where it can't be."""
    parser = argparse.ArgumentParser(prog="python -m bench.pubsub", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="without ordering three times")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    columns = ("", "", "messages/s", "client, µs a message", f"relay / bare, ≥ {TARGET}")
    table = Table(*columns)
    try:
        # Postgres first: gRPC does not get on with what is forked besides its threads.
        with (
            temporary_directory() as directory,
            Postgres.start(directory / "postgres") as postgres,
            PubSub.start(directory) as server,
        ):
            bench = Bench(directory, postgres, server)
            for ordering, name in ((True, "ordering"), (False, "no ordering")):
                messages = arguments.messages * (1 if ordering else 3)
                alone, relayed = bench.rounds(messages, arguments.rounds, ordering=ordering)
                ratios = [one[0] / other[0] for one, other in zip(relayed, alone, strict=True)]
                ratio = statistics.median(ratios)
                met = "met" if ratio >= TARGET else "not met"
                table.add_row(name, "bare loop", *_medians(alone), "")
                table.add_row("", "relay", *_medians(relayed), f"{ratio:.2f}, {met}")
    except (StartError, TimeoutError) as fault:
        print(fault, file=sys.stderr)
        return 1
    Console().print(table)
    return 0


def _medians(measured: list[Measured]) -> tuple[str, str]:
    rates, seconds = zip(*measured, strict=True)
    return f"{statistics.median(rates):,.0f}", f"{statistics.median(seconds):,.0f}"


def bare(server: PubSub, messages: int, per_request: int) -> Measured:
    """Futures of the stub with seven attributes, as many in flight as the relay has."""
    topic = server.create_topic(f"bare-{messages}-{per_request}")
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    publish = PublisherGrpcTransport(channel=channel).publish
    make, of = types.PubsubMessage.pb(), types.PublishRequest.pb()
    attributes = {f"attribute-{number}": "a value of 20 bytes." for number in range(7)}
    data = f'{{"x": "{"x" * BYTES}"}}'.encode()
    room = threading.Semaphore(max(IN_FLIGHT // per_request, 1))
    failed: list[Any] = []

    def done(call: Any) -> None:
        if call.code() is not grpc.StatusCode.OK:
            failed.append(call.code())
        room.release()

    server.seen()
    spent = time.process_time()
    for first in range(0, messages, per_request):
        key = f"g{first % GROUPS}" if per_request == 1 else ""
        made = [
            make(data=data, attributes=attributes, ordering_key=key) for _ in range(per_request)
        ]
        room.acquire()
        request = types.PublishRequest.wrap(of(topic=topic, messages=made))
        publish.future(request, timeout=15).add_done_callback(done)
    for _ in range(max(IN_FLIGHT // per_request, 1)):
        room.acquire()
    spent = time.process_time() - spent
    channel.close()
    if failed:
        raise TimeoutError(f"{len(failed)} requests of the bare loop failed: {failed[0]}")
    return _rate(server, messages), spent / messages * 1e6


class Bench:
    """A migrated database, and the server."""

    def __init__(self, directory: Path, postgres: Postgres, server: PubSub) -> None:
        """Raises StartError."""
        create_database(postgres, "bench")
        self._directory = directory
        self._server = server
        self._url = postgres.dsn("bench")
        self._environment: Mapping[str, str] = {
            "DATABASE_URL": self._url,
            "PATH": "/usr/bin:/bin",
            "RELAY_ALLOW_HOSTS": f"127.0.0.1:{server.port}/projects/{PROJECT}",
        }
        self._run("migrate")
        server.create_topic("relay")

    def rounds(
        self, messages: int, rounds: int, *, ordering: bool
    ) -> tuple[list[Measured], list[Measured]]:
        """What the bare loop did, and the relay, in turn. Raises TimeoutError."""
        per_request = 1 if ordering else MAX_MESSAGES
        bare(self._server, messages // 4, per_request)
        _, start_seconds = self.relay(FEW, ordering=ordering)
        alone, relayed = [], []
        for _ in range(rounds):
            alone.append(bare(self._server, messages, per_request))
            rate, seconds = self.relay(messages, ordering=ordering)
            relayed.append((rate, (seconds - start_seconds) / (messages - FEW) * 1e6))
        return alone, relayed

    def relay(self, messages: int, *, ordering: bool) -> tuple[float, float]:
        """Messages a second, and seconds of a process's processor. Raises TimeoutError."""
        config = {
            "project": PROJECT,
            "topic": "relay",
            "endpoint": self._server.endpoint,
            "ordering": ordering,
            "concurrency": IN_FLIGHT,
        }
        with psycopg.connect(self._url, autocommit=True) as db:
            db.execute("select outbox.delete_subscription(name, true) from outbox.subscription")
            db.execute("truncate outbox.message")
            db.execute(CONNECT, ["bench", Jsonb(config)])
            db.execute(FILL, [GROUPS, BYTES, messages])
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._server.seen()
            self._run("run", "--once")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = db.execute(DONE).fetchone()
        if done is None or done[0] < messages:
            raise TimeoutError(f"the relay sent {done and done[0]} of {messages}")
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return _rate(self._server, messages), spent

    def _run(self, *arguments: str) -> None:
        command: list[str | Path] = [script("outbox-relay"), *arguments]
        log = self._directory / f"{arguments[0]}.log"
        with Program.start(
            arguments[0], command, log=log, environment=self._environment
        ) as program:
            program.wait(WITHIN_SECONDS)


def _rate(server: PubSub, messages: int) -> float:
    seen = server.seen()
    seconds: float = seen[-1]["at"] - seen[0]["at"]
    return messages / max(seconds, 1e-9)


if __name__ == "__main__":
    sys.exit(main())
