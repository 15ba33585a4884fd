"""`make run`: Postgres, Kafka, the service and a relay, until Ctrl-C."""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import KafkaException

from local import besides
from local.besides import Besides
from local.key import create_operator
from local.postgres_binaries import bin_dir
from local.program import Program, script
from local.server import Server, StartError, free_port
from local.stack import Stack, temporary_directory
from service.payments import event_types

TOPICS = ("payment.success", "payment.unapplied", "orders.lifecycle")
COMMAND_TIMEOUT_SECONDS = 120
ORDER = (
    '{"number": "S-1", "merchantId": "m1", "saleChannelId": "web", "currency": "EUR",'
    ' "total": "10.00", "createdBy": "you",'
    ' "items": [{"itemType": "PRODUCT", "itemId": "p1", "quantity": 1, "mode": "PRODUCT"}]}'
)
ORDER_ID = """python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'"""
# The shell puts the order's id in: the quotes end around it and begin anew.
PAYMENT = (
    """'{"timestamp": 1767268800, "eventType": "ATTEMPT_SUCCESS", "payload":"""
    """ {"timestamp": "2026-01-01T12:00:00Z", "attempt": {"id": "a-1", "uid": "a-1","""
    """ "status": "SUCCESS", "amount": "10.00", "paymentProvider": "you","""
    """ "metadata": {"source": {"type": "SaleOrder", "id": "'$ORDER'"}}}}}'"""
)


def main() -> int:
    """Run the stack; 0 after Ctrl-C or SIGTERM, 1 where something doesn't start or dies."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the data here; else it goes with the stack"
    )
    parser.add_argument(
        "--with",
        type=besides.names,
        action="extend",
        default=[],
        metavar="NAME,…",
        dest="besides",
        help="sqs: ElasticMQ with a queue orders.fifo, in place of Amazon SQS; kafka-2: a second "
        "Kafka with a topic shop.orders, another cluster; pubsub: a server with a topic orders, in "
        "place of Google Cloud Pub/Sub",
    )
    arguments = parser.parse_args()
    directory: Path | None = arguments.data
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as exit_stack:
            if directory is None:
                directory = exit_stack.enter_context(temporary_directory())
            directory.mkdir(parents=True, exist_ok=True)
            print("Starting Postgres and Kafka …", flush=True)
            stack = exit_stack.enter_context(Stack.start(directory, quick_start=True))
            others = [besides.STARTS[name](directory, exit_stack) for name in arguments.besides]
            programs = start_programs(stack, directory, exit_stack, others)
            started = [server for server in (stack.postgres, stack.kafka) if server]
            return watch([*started, *(one.server for one in others), *programs])
    except KeyboardInterrupt:
        return 0
    except (StartError, KafkaException, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1


def start_programs(
    stack: Stack, directory: Path, exit_stack: ExitStack, others: Sequence[Besides]
) -> list[Program]:
    """Migrate, register, make the topics, start service and relay, and tell where all of it is."""
    service_port, relay_port = preferred_port(8080), preferred_port(9187)
    environment = {
        **os.environ,
        "DATABASE_URL": stack.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SERVICE_PORT": str(service_port),
        "SERVICE_CONSOLE": "on",
        "RELAY_PORT": str(relay_port),
        # An endpoint to try it with is on this machine, where the relay would else send nothing.
        "RELAY_ALLOW_NETWORKS": os.environ.get("RELAY_ALLOW_NETWORKS", "127.0.0.0/8"),
    }
    environment.setdefault(
        "RELAY_EVENT_TYPES_URL", f"http://127.0.0.1:{service_port}/v1/event-types"
    )
    environment.setdefault("SERVICE_KAFKA_SERVERS", stack.bootstrap_servers)
    for one in others:
        environment |= one.environment
    if others:
        environment["RELAY_ALLOW_HOSTS"] = ",".join(one.allowed for one in others)
    migrate(directory, environment)
    register_event_types(directory, environment)
    stack.make_topics(TOPICS)
    service_url, relay_url = (f"http://127.0.0.1:{port}" for port in (service_port, relay_port))
    commands: dict[str, tuple[list[str | Path], str]] = {
        "service": ([script("outbox-service")], f"{service_url}/readyz"),
        "relay": ([script("outbox-relay"), "run"], f"{relay_url}/readyz"),
    }
    programs: list[Program] = []
    for name, (command, ready_url) in commands.items():
        program = Program.start(
            name,
            command,
            log=directory / f"{name}.log",
            environment=environment,
            ready_url=ready_url,
        )
        programs.append(exit_stack.enter_context(program))
    tell(stack, directory, service_url, relay_url, create_operator(environment))
    for one in others:
        print(f"\n{one.words}", flush=True)
    return programs


def migrate(directory: Path, environment: dict[str, str]) -> None:
    """Bring the schema up to date. Raises StartError with what the command said."""
    _relay_command("migrate", directory, environment, "migrate")


def register_event_types(directory: Path, environment: dict[str, str]) -> None:
    """Hold what the service publishes to its types. Raises StartError with what is wrong."""
    _relay_command("catalogue", directory, environment, "catalogue", "apply", event_types.DIRECTORY)


def _relay_command(
    name: str, directory: Path, environment: dict[str, str], *arguments: str | Path
) -> None:
    command: list[str | Path] = [script("outbox-relay"), *arguments]
    log = directory / f"{name}.log"
    with Program.start(name, command, log=log, environment=environment) as program:
        if program.wait(COMMAND_TIMEOUT_SECONDS):
            raise StartError(f"outbox-relay {name} failed:\n{program.log_tail()}")


def tell(stack: Stack, directory: Path, service_url: str, relay_url: str, key: str) -> None:
    # A URL from the environment may hold a password.
    database = shlex.quote(stack.database_url) if stack.postgres else "as DATABASE_URL says"
    psql = f"{bin_dir() / 'psql'} {database if stack.postgres else '$DATABASE_URL'}"
    post = f"curl -s -H 'Content-Type: application/json' {service_url}/v1/api/sale"
    print(
        f"""
service   {service_url}          API {service_url}/openapi.json
console   {service_url}/console          sign in with the API key {key}
relay     {relay_url}/metrics
Postgres  {database}
Kafka     {stack.bootstrap_servers}          topics {", ".join(TOPICS)}
logs      {directory}/*.log

Make an order, start its payment, and pay it as the provider does, by a webhook; the relay carries
order.created to the topic orders.lifecycle and payment.success to payment.success:
  ORDER=$({post}/orders -d {shlex.quote(ORDER)} | {ORDER_ID})
  {post}/orders/$ORDER/payments -X POST
  {post}/webhooks/payment -d {PAYMENT}
See what the log holds, or write to it:
  {psql} -f sql/inspect/backlog.sql
What the service publishes is held to its event types, those in service/payments/event_types:
  {psql} -f sql/inspect/event_types.sql
Run the relay's and the service's commands on it:
  export DATABASE_URL={database if stack.postgres else "…"}

Ctrl-C stops everything.""",
        flush=True,
    )


def preferred_port(port: int) -> int:
    """The usual port, or another where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


def watch(servers: Sequence[Server]) -> int:
    """Stay until one of them dies; tell which and return 1."""
    while True:
        for server in servers:
            if not server.running:
                print(f"{server.name} died:\n{server.log_tail()}", file=sys.stderr)
                return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
