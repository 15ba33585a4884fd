"""`python -m bench.sqs`: a backlog to ElasticMQ beside a bare loop of botocore, one table.

ElasticMQ takes some 2,000 messages a second and is the bottleneck of both: what tells is the
client's own processor time for each message, and the ratio of the rates.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.session
import psycopg
from botocore.config import Config
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from bench.process import cpu_seconds
from local.elasticmq import ACCOUNT, REGION, ElasticMQ
from local.postgres import Postgres
from local.program import Program, script
from local.server import StartError
from local.stack import create_database, temporary_directory

GROUPS = 100
BYTES = 500
THREADS = 8
CONNECT = "select outbox.connect('bench', 'orders', 'sqs', %s)"
FILL = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'order.paid', 'g' || n %% %s,
       convert_to(json_build_object('x', repeat('x', %s))::text, 'UTF8')
from generate_series(1, %s) as n
"""
DONE = "select coalesce(sum(messages), 0)::bigint from outbox.checkpoint"
WITHIN_SECONDS = 600.0
POLL_SECONDS = 0.02


def main() -> int:
    """0 when both were measured; 1 where they can't be."""
    parser = argparse.ArgumentParser(prog="python -m bench.sqs", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    messages: int = parser.parse_args().messages
    try:
        with temporary_directory() as directory, ElasticMQ.start(directory / "mq.log") as server:
            bare(server, messages // 4)
            alone = bare(server, messages)
            relayed = relay(server, directory, messages)
    except (StartError, TimeoutError) as fault:
        print(fault, file=sys.stderr)
        return 1
    table = Table("", "messages/s", "client, µs a message")
    for name, (rate, cost) in (("bare botocore loop", alone), ("relay", relayed)):
        table.add_row(name, f"{rate:,.0f}", f"{cost:,.0f}")
    table.add_row("relay / bare", f"{relayed[0] / alone[0]:.2f}", "")
    Console().print(table)
    return 0


Measured = tuple[float, float]


def bare(server: ElasticMQ, messages: int) -> Measured:
    """Batches of ten with seven attributes by eight threads, the messages in memory."""
    url = server.create_queue(f"bare-{messages}.fifo")
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
        max_pool_connections=THREADS,
    )
    client = botocore.session.Session().create_client(
        "sqs",
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=config,
    )
    attributes = {
        f"attribute-{number}": {"DataType": "String", "StringValue": "a value of 20 bytes."}
        for number in range(7)
    }
    body = f'{{"x": "{"x" * BYTES}"}}'

    def send(first: int) -> None:
        client.send_message_batch(
            QueueUrl=url,
            Entries=[
                {
                    "Id": str(place),
                    "MessageBody": body,
                    "MessageGroupId": f"g{first + place}",
                    "MessageDeduplicationId": str(first + place),
                    "MessageAttributes": attributes,
                }
                for place in range(10)
            ],
        )

    began_at, spent = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, range(0, messages, 10)))
    return _measured(messages, began_at, time.process_time() - spent)


def relay(server: ElasticMQ, directory: Path, messages: int) -> Measured:
    """The relay's own process at work on a backlog, from its first checkpoint on."""
    with Postgres.start(directory / "postgres") as postgres:
        create_database(postgres, "bench")
        url = postgres.dsn("bench")
        environment = {
            "DATABASE_URL": url,
            "PATH": "/usr/bin:/bin",
            "RELAY_ALLOW_HOSTS": f"127.0.0.1:{server.port}/{ACCOUNT}",
            "RELAY_CREDENTIALS_BENCH_USERNAME": "bench",
            "RELAY_CREDENTIALS_BENCH_PASSWORD": "bench",
        }
        migrate: list[str | Path] = [script("outbox-relay"), "migrate"]
        with Program.start(
            "migrate", migrate, log=directory / "migrate.log", environment=environment
        ) as migrating:
            migrating.wait(60)
        queue = server.create_queue("relay.fifo")
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("select outbox.delete_subscription('kafka', true)")
            config = {"queue_url": queue, "region": REGION, "credentials": "bench"}
            db.execute(CONNECT, [Jsonb(config)])
            db.execute(FILL, [GROUPS, BYTES, messages])
            run: list[str | Path] = [script("outbox-relay"), "run"]
            with Program.start(
                "relay", run, log=directory / "relay.log", environment=environment
            ) as program:
                before = _wait(db, 1)
                began_at, spent = time.monotonic(), cpu_seconds(program.pid)
                after = _wait(db, messages)
                return _measured(after - before, began_at, cpu_seconds(program.pid) - spent)


def _wait(db: "psycopg.Connection[tuple[int]]", messages: int) -> int:
    """Until the relay has sent so many; how many it has. Raises TimeoutError."""
    ends_at = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < ends_at:
        row = db.execute(DONE).fetchone()
        if row is not None and row[0] >= messages:
            return row[0]
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"the relay has not sent {messages} messages in {WITHIN_SECONDS:.0f} s")


def _measured(messages: int, began_at: float, spent_seconds: float) -> Measured:
    seconds = time.monotonic() - began_at
    return messages / seconds, spent_seconds / messages * 1e6


if __name__ == "__main__":
    sys.exit(main())
