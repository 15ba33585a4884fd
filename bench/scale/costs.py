"""What the model is fed with: costs by run, subscription and delivery, out of a few turns.

A turn at a steady rate with one subscription and another with many tell what a run costs, and what
each subscription in it; a backlog tells what a delivery costs where runs count for nothing; and a
turn without subscriptions tells what the orders themselves cost.
"""

import datetime
from collections.abc import Callable, Sequence

from bench.model import Costs, Following, Line, Message, Order
from bench.scale import publishing, steady
from bench.scale.sale import ENDPOINT_CHANNEL, KAFKA_CHANNELS, Published
from bench.scale.stage import Stage
from bench.scale.steady import Drained, Turn


def measure(stage: Stage, machine: str, *, is_quick: bool) -> Costs:
    """All of it, about a minute."""
    sizes = stage.sizes
    stage.tell("what a message costs Postgres")
    message = publishing.message_cost(stage)

    def turn(kafka: int, endpoints: int) -> Turn:
        return steady.turn(stage, sizes.steady_rate, sizes.steady, kafka, endpoints)

    alone = turn(0, 0)
    many_endpoints, one_endpoint = turn(0, sizes.many_endpoints), turn(0, 1)
    # Last, when Kafka has long compiled what it was warmed up with.
    one_kafka, many_kafka = turn(1, 0), turn(sizes.many_kafka, 0)
    return Costs(
        machine=machine,
        measured_at=datetime.datetime.now(datetime.UTC).strftime("%d %B %Y, %H:%M UTC"),
        is_quick=is_quick,
        order=order_cost(alone, message, stage.sale.published),
        message=message,
        idle_relay=one_kafka.idle_relay,
        idle_postgres=one_kafka.idle_postgres,
        relay_bytes=one_kafka.relay_bytes,
        kafka=following(
            alone,
            (one_kafka, many_kafka),
            steady.drain(stage, sizes.backlog, kafka=1),
            len(KAFKA_CHANNELS),
        ),
        endpoints=following(
            alone,
            (one_endpoint, many_endpoints),
            steady.drain(stage, sizes.backlog, endpoints=10),
            KAFKA_CHANNELS.count(ENDPOINT_CHANNEL),
        ),
    )


def order_cost(alone: Turn, message: Message, published: Sequence[Published]) -> Order:
    """An order's own part of a turn in which nobody reads the log."""
    microseconds = (alone.postgres_cores - alone.idle_postgres) / alone.orders * 1e6
    messages_wal = sum(message.wal_bytes.of(one.payload_bytes) for one in published)
    return Order(
        postgres_microseconds=max(
            microseconds - len(published) * message.postgres_microseconds, 0.0
        ),
        wal_bytes=max(alone.wal_bytes / alone.orders - messages_wal, 0.0),
    )


def following(alone: Turn, turns: tuple[Turn, Turn], drained: Drained, messages: int) -> Following:
    """From a turn with one subscription of a kind and one with many; each takes so many messages
    of an order.
    """
    few, many = turns
    publishing_cores = alone.postgres_cores - alone.idle_postgres
    each = drained.each

    def a_run(left: Callable[[Turn], float], scale: float = 1e6) -> Line:
        """What is `left` a second of each turn, by its runs and their subscriptions."""
        return Line.through(
            streams(few),
            left(few) / runs(few) * scale,
            streams(many),
            left(many) / runs(many) * scale,
        )

    def deliveries(turn: Turn, microseconds: float) -> float:
        return turn.orders * messages * streams(turn) * microseconds / 1e6

    def published(turn: Turn) -> float:
        return publishing_cores * turn.orders / alone.orders

    return Following(
        run_seconds=Line.through(streams(few), seconds(few), streams(many), seconds(many)),
        run_relay=a_run(
            lambda turn: turn.relay_cores - turn.idle_relay - deliveries(turn, each.relay)
        ),
        run_postgres=a_run(
            lambda turn: (
                turn.postgres_cores
                - turn.idle_postgres
                - published(turn)
                - deliveries(turn, each.postgres)
            )
        ),
        run_wal_bytes=a_run(
            lambda turn: turn.wal_bytes - alone.wal_bytes * turn.orders / alone.orders, 1.0
        ),
        delivery=each,
        relay_bytes=max((many.relay_bytes - few.relay_bytes) / (streams(many) - streams(few)), 0.0),
    )


def streams(turn: Turn) -> int:
    """Its subscriptions, which are of one kind."""
    return turn.kafka + turn.endpoints


def runs(turn: Turn) -> float:
    return turn.kafka_runs + turn.endpoint_runs


def seconds(turn: Turn) -> float:
    """How long a run took: the next one waits for it and then for an order."""
    return max(1 / runs(turn) - 1 / turn.orders, 0.0)
