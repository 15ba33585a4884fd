"""How many of what: cores, relays, WAL and disk for so many orders a second.

A model of two ideas. What follows the log is read in runs: a run begins when something new is
there and the former one has ended, so at low rates each order has a run of its own, and at high
rates a run takes what came meanwhile. And every run, every subscription in it and every delivery
costs what it was measured to cost, in processor time, WAL and memory. The measurements are
bench/scale/measured.json, which `make bench-scale` writes; it also checks this model against two
mixtures that it was not fed with. Several relays share the subscriptions, so each has runs of its
own over its part.
"""

import argparse
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from rich.console import Console
from rich.table import Table

MEASURED = Path(__file__).with_name("scale") / "measured.json"
DAY_SECONDS = 86_400
# Of a relay's core deliveries may take so much. The rest is for runs: with less, they are seldom.
BUSY_SHARE = 0.7
# Requests that a relay has open to one endpoint at once.
IN_FLIGHT = 32
GIGABYTE, MEBIBYTE = 1e9, float(1 << 20)


class Line(msgspec.Struct, frozen=True):
    """An amount that has a fixed part, and grows by `each` with every one of what is counted."""

    fixed: float
    each: float

    @classmethod
    def through(cls, a: float, at_a: float, b: float, at_b: float) -> Self:
        """Through two points, of which `a` is the lower; neither part is below zero."""
        each = max((at_b - at_a) / (b - a), 0.0)
        return cls(max(at_a - each * a, 0.0), each)

    def of(self, number: float) -> float:
        return self.fixed + self.each * number


class Processor(msgspec.Struct, frozen=True):
    """Microseconds of processor time, by who takes it."""

    relay: float
    postgres: float


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """What subscriptions of one kind cost that follow the log together.

    Lines are of one run and grow with every subscription in it: how long it takes, microseconds of
    processor time, bytes of WAL. `delivery` comes on top for each message and subscription,
    `relay_bytes` for each subscription.
    """

    run_seconds: Line
    run_relay: Line
    run_postgres: Line
    run_wal_bytes: Line
    delivery: Processor
    relay_bytes: float

    def runs_per_second(self, rate: float, subscriptions: float) -> float:
        """Of so many transactions a second: each waits for the run before it to end."""
        return rate / (1 + rate * self.run_seconds.of(subscriptions))


class Message(msgspec.Struct, frozen=True):
    """One message in a transaction that there is anyway. Lines grow with its payload's bytes."""

    postgres_microseconds: float
    wal_bytes: Line
    disk_bytes: Line


class Order(msgspec.Struct, frozen=True):
    """A payment that completes an order of the sale service, without its messages."""

    postgres_microseconds: float
    wal_bytes: float


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured, where and when. `idle_…` are shares of a core."""

    machine: str
    measured_at: str
    is_quick: bool
    order: Order
    message: Message
    idle_relay: float
    idle_postgres: float
    relay_bytes: float
    kafka: Following
    endpoints: Following


class Mixture(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: orders a second, and who takes how many of the messages of each."""

    orders: float
    messages: int = 3
    message_bytes: float = 500
    kafka_subscriptions: int = 1
    kafka_messages: int = 2
    endpoints: int = 0
    endpoint_messages: int = 1


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. Cores are of the machine that was measured; bytes are a second's, but for
    `relay_bytes`, the memory of one relay. `run_seconds`: how often a relay begins a run, on the
    average.
    """

    deliveries: float
    requests: float
    relays: int
    relay_cores: float
    relay_bytes: float
    run_seconds: float
    postgres_cores: float
    publishing_cores: float
    wal_bytes: float
    checkpoint_wal_bytes: float
    disk_bytes: float


class _Runs(msgspec.Struct, frozen=True):
    """Those of one relay, a second: how many, microseconds of processor time, bytes of WAL."""

    number: float
    relay: float
    postgres: float
    wal_bytes: float


def needs(costs: Costs, mixture: Mixture) -> Needs:
    """What so many orders a second need."""
    rate, message = mixture.orders, costs.message
    delivered = _delivered(costs, mixture)
    relays = max(math.ceil(rate * delivered.relay / 1e6 / BUSY_SHARE), 1)
    runs = [
        _runs(following, rate, subscriptions / relays)
        for following, subscriptions, _ in _taken(costs, mixture)
        if subscriptions
    ]
    # What deliveries leave of a relay's core is for runs. Where they would take more, there are
    # fewer, and each has more to carry.
    left = 1e6 * (1 - costs.idle_relay) - rate * delivered.relay / relays
    share = min(left / max(sum(one.relay for one in runs), 1.0), 1.0)
    publishing = costs.order.postgres_microseconds
    publishing += mixture.messages * message.postgres_microseconds
    order_wal = costs.order.wal_bytes
    order_wal += mixture.messages * message.wal_bytes.of(mixture.message_bytes)
    checkpoint_wal = relays * share * sum(one.wal_bytes for one in runs)
    relay = relays * share * sum(one.relay for one in runs) + rate * delivered.relay
    postgres = relays * share * sum(one.postgres for one in runs) + rate * delivered.postgres
    return Needs(
        deliveries=rate * mixture.kafka_messages * mixture.kafka_subscriptions,
        requests=rate * mixture.endpoint_messages * mixture.endpoints,
        relays=relays,
        relay_cores=relays * costs.idle_relay + relay / 1e6,
        relay_bytes=costs.relay_bytes
        + sum(following.relay_bytes * number for following, number, _ in _taken(costs, mixture)),
        run_seconds=1 / (share * max((one.number for one in runs), default=1.0)),
        publishing_cores=rate * publishing / 1e6,
        postgres_cores=costs.idle_postgres + (rate * publishing + postgres) / 1e6,
        wal_bytes=rate * order_wal + checkpoint_wal,
        checkpoint_wal_bytes=checkpoint_wal,
        disk_bytes=rate * mixture.messages * message.disk_bytes.of(mixture.message_bytes),
    )


def orders_of_one_relay(costs: Costs, mixture: Mixture) -> float:
    """So many a second, that their deliveries take BUSY_SHARE of a core; what is left is for runs.

    Infinite where there is no subscription.
    """
    microseconds = _delivered(costs, mixture).relay
    return BUSY_SHARE * 1e6 / microseconds if microseconds else math.inf


def _taken(costs: Costs, mixture: Mixture) -> list[tuple[Following, int, int]]:
    """How many subscriptions of each kind there are, and how much of an order each takes."""
    return [
        (costs.kafka, mixture.kafka_subscriptions, mixture.kafka_messages),
        (costs.endpoints, mixture.endpoints, mixture.endpoint_messages),
    ]


def _delivered(costs: Costs, mixture: Mixture) -> Processor:
    """What all deliveries of one order cost."""
    relay = postgres = 0.0
    for following, subscriptions, messages in _taken(costs, mixture):
        relay += subscriptions * messages * following.delivery.relay
        postgres += subscriptions * messages * following.delivery.postgres
    return Processor(relay, postgres)


def _runs(following: Following, rate: float, subscriptions: float) -> _Runs:
    number = following.runs_per_second(rate, subscriptions)
    return _Runs(
        number,
        number * following.run_relay.of(subscriptions),
        number * following.run_postgres.of(subscriptions),
        number * following.run_wal_bytes.of(subscriptions),
    )


def read(path: Path) -> Costs:
    """Raises OSError, and msgspec.DecodeError with the field that does not fit."""
    return msgspec.json.decode(path.read_bytes(), type=Costs)


def main() -> int:
    """Exit 0 with the answer, 2 where a number or the file does not fit."""
    arguments, parser = _arguments()
    try:
        costs = read(arguments.measured)
    except (OSError, msgspec.DecodeError) as fault:
        parser.error(f"--measured: {arguments.measured}: {fault}")
    mixture = Mixture(
        orders=arguments.orders,
        messages=arguments.messages,
        message_bytes=arguments.message_bytes,
        kafka_subscriptions=arguments.kafka_subscriptions,
        kafka_messages=arguments.kafka_messages,
        endpoints=arguments.endpoints,
        endpoint_messages=arguments.endpoint_messages,
    )
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(_table(costs, mixture, arguments.retention_days))
    for sentence in _sentences(costs, mixture, arguments.endpoint_milliseconds):
        console.print(sentence, highlight=False)
    return 0


def _arguments() -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="python -m bench.model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="An order is what the sale service does when a payment completes one: a transaction "
        "with three\nmessages, of which Kafka gets two and an endpoint one. Examples:\n"
        "  python -m bench.model --orders 2000 --kafka-subscriptions 10 --endpoints 50\n"
        "  python -m bench.model --orders 300 --kafka-subscriptions 0 --endpoints 400\n"
        "Not in it: what writes, Kafka's brokers, what consumes, and the network. --messages, "
        "--message-bytes\nand --…-messages fit it to other transactions; the order's own changes "
        "stay the sale's.",
    )
    add = parser.add_argument
    add("--orders", type=_positive, required=True, metavar="N", help="a second")
    add("--messages", type=_count, default=3, metavar="N", help="that an order publishes; 3")
    add("--message-bytes", type=_count, default=500, metavar="N", help="of a payload; 500")
    for name, of, number, taken in (
        ("kafka-subscriptions", "subscriptions to topics", 1, "kafka-messages"),
        ("endpoints", "subscriptions to endpoints", 0, "endpoint-messages"),
    ):
        add(f"--{name}", type=_count, default=number, metavar="N", help=f"{of}; {number}")
        usual = 2 if number else 1
        add(
            f"--{taken}",
            type=_count,
            default=usual,
            metavar="N",
            help=f"of an order's messages that each of them takes; {usual}",
        )
    add("--endpoint-milliseconds", type=_positive, default=50, metavar="N",
        help="until an endpoint has answered; 50")  # fmt: skip
    add("--retention-days", type=_positive, default=7, metavar="N",
        help="RELAY_RETENTION_DAYS; 7")  # fmt: skip
    add("--measured", type=Path, default=MEASURED, metavar="FILE",
        help="what `python -m bench.scale --measured FILE` wrote on your machine")  # fmt: skip
    return parser.parse_args(), parser


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= 1e6:
            return float(text)
    raise argparse.ArgumentTypeError("write a number above 0, up to 1000000")


def _count(text: str) -> int:
    with suppress(ValueError):
        if 0 <= int(text) <= 1_000_000:
            return int(text)
    raise argparse.ArgumentTypeError("write a whole number from 0 to 1000000")


def _table(costs: Costs, mixture: Mixture, retention_days: float) -> Table:
    of = needs(costs, mixture)
    # The log is cut into parts of a quarter of the retention, and at least a day, which go whole.
    kept_days = retention_days + max(retention_days / 4, 1)
    rows = {
        "messages published": f"{mixture.orders * mixture.messages:,.0f} /s",
        "deliveries to Kafka": f"{of.deliveries:,.0f} /s",
        "requests to endpoints": f"{of.requests:,.0f} /s",
        "Postgres": f"{of.postgres_cores:.2f} cores",
        "  of them to publish": f"{of.publishing_cores:.2f} cores",
        "relays": f"{of.relay_cores:.2f} cores",
        "  processes": f"{of.relays}, and one that may fail",
        "  a run begins every": f"{of.run_seconds * 1e3:,.0f} ms",
        "  memory of each": f"{of.relay_bytes / MEBIBYTE:,.0f} MiB",
        "WAL": f"{of.wal_bytes / 1e6:,.2f} MB/s",
        "  a day": f"{of.wal_bytes * DAY_SECONDS / GIGABYTE:,.0f} GB",
        "  of it the relays' checkpoints": f"{of.checkpoint_wal_bytes / of.wal_bytes:.1%}",
        "the log grows by, a day": f"{of.disk_bytes * DAY_SECONDS / GIGABYTE:,.0f} GB",
        f"  and holds, {retention_days:g} days kept":
            f"{of.disk_bytes * DAY_SECONDS * kept_days / GIGABYTE:,.0f} GB",
    }  # fmt: skip
    made = Table(show_header=False, title_justify="left")
    made.title = f"{mixture.orders:,.0f} orders a second, all day"
    made.add_column()
    made.add_column(justify="right")
    for name, value in rows.items():
        made.add_row(name, value)
    return made


def _sentences(costs: Costs, mixture: Mixture, endpoint_milliseconds: float) -> list[str]:
    full = orders_of_one_relay(costs, mixture)
    found = []
    if math.isfinite(full):
        found.append(
            f"One relay carries {full:,.0f} orders a second: their deliveries take "
            f"{BUSY_SHARE:.0%} of a core, and runs the rest."
        )
    of_an_endpoint = mixture.orders * mixture.endpoint_messages
    most = IN_FLIGHT / endpoint_milliseconds * 1e3
    if mixture.endpoints and of_an_endpoint > most:
        found.append(
            f"An endpoint that takes {endpoint_milliseconds:g} ms answers {most:,.0f} requests a "
            f"second, since {IN_FLIGHT} are open to it at once: {of_an_endpoint:,.0f} are too many."
        )
    found.append(f"Cores are those of: {costs.machine}; measured {costs.measured_at}.")
    if costs.is_quick:
        found.append("These measurements are small and quick: no figure to decide by.")
    return found


if __name__ == "__main__":
    sys.exit(main())
