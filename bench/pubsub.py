"""`python -m bench.pubsub`: a backlog to a topic beside a bare loop of Google's stub, one table.

The server is this project's own, in a process of its own on the same cores. Each way is taken
with ordering, where each message has a request of its own, and without, where a hundred share one.
The rate is that of the requests as they come there, from the first to the last; the relay's
processor time holds its start as well, a second or so.
"""

import argparse
import resource
import sys
import threading
import time
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

# Messages a second, and microseconds of the client's processor for each.
Measured = tuple[float, float]


def main() -> int:
    """0 when all was measured; 1 where it can't be."""
    parser = argparse.ArgumentParser(prog="python -m bench.pubsub", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    messages: int = parser.parse_args().messages
    table = Table("", "", "messages/s", "client, µs a message", "relay / bare")
    try:
        with temporary_directory() as directory, PubSub.start(directory) as server:
            for ordering, name in ((True, "ordering"), (False, "no ordering")):
                per_request = 1 if ordering else 100
                bare(server, messages // 4, per_request)
                alone = bare(server, messages, per_request)
                relayed = relay(server, directory / name.replace(" ", "-"), messages, ordering)
                table.add_row(name, "bare loop", f"{alone[0]:,.0f}", f"{alone[1]:,.0f}", "")
                ratio = f"{relayed[0] / alone[0]:.2f}"
                table.add_row("", "relay", f"{relayed[0]:,.0f}", f"{relayed[1]:,.0f}", ratio)
    except (StartError, TimeoutError) as fault:
        print(fault, file=sys.stderr)
        return 1
    Console().print(table)
    return 0


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
    measured = _measured(server, messages, time.process_time() - spent)
    channel.close()
    if failed:
        raise TimeoutError(f"{len(failed)} requests of the bare loop failed: {failed[0]}")
    return measured


def relay(server: PubSub, directory: Path, messages: int, ordering: bool) -> Measured:
    """The relay's own process."""
    directory.mkdir()
    with Postgres.start(directory / "postgres") as postgres:
        create_database(postgres, "bench")
        url = postgres.dsn("bench")
        environment = {
            "DATABASE_URL": url,
            "PATH": "/usr/bin:/bin",
            "RELAY_ALLOW_HOSTS": f"127.0.0.1:{server.port}/projects/{PROJECT}",
        }
        migrate: list[str | Path] = [script("outbox-relay"), "migrate"]
        with Program.start(
            "migrate", migrate, log=directory / "migrate.log", environment=environment
        ) as migrating:
            migrating.wait(60)
        topic = "relay-ordering" if ordering else "relay"
        server.create_topic(topic)
        config = {
            "project": PROJECT,
            "topic": topic,
            "endpoint": server.endpoint,
            "ordering": ordering,
            "concurrency": IN_FLIGHT,
        }
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("select outbox.delete_subscription('kafka', true)")
            db.execute(CONNECT, ["bench", Jsonb(config)])
            db.execute(FILL, [GROUPS, BYTES, messages])
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run: list[str | Path] = [script("outbox-relay"), "run", "--once"]
            server.seen()
            with Program.start(
                "relay", run, log=directory / "relay.log", environment=environment
            ) as program:
                program.wait(WITHIN_SECONDS)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = db.execute(DONE).fetchone()
        if done is None or done[0] < messages:
            raise TimeoutError(f"the relay sent {done and done[0]} of {messages}")
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return _measured(server, messages, spent)


def _measured(server: PubSub, messages: int, spent_seconds: float) -> Measured:
    seen = server.seen()
    seconds = seen[-1]["at"] - seen[0]["at"]
    return messages / seconds, spent_seconds / messages * 1e6


if __name__ == "__main__":
    sys.exit(main())
