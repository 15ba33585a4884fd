"""What the doctor finds about Kafka."""

import threading
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import msgspec
from confluent_kafka.admin import AdminClient

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.kafka.exactly_once.transactions import CURSORS, Transactions
from relay.kafka.producers import DEFAULTS
from relay.kafka.reports import Reports
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

KAFKA_TIMEOUT_SECONDS = 10.0


class Wanted(msgspec.Struct, frozen=True):
    """What the subscriptions want of Kafka.

    `needed`: one of them goes there, or that could not be read. `topics` are those of the channels
    seen lately. `installation` is there where a subscription is to be delivered exactly once: the
    transactions' names begin with it.
    """

    needed: bool = True
    topics: frozenset[str] = frozenset()
    installation: str | None = None


# The channels of the latest messages: two index ranges' ends, however long the log is.
TOPICS = """
    with latest as materialized (
        select distinct found.channel
        from generate_series(1, 5) as class
        cross join lateral (
            select channel from outbox.message
            where priority::integer = class order by id + 0 desc limit 500
        ) as found
    )
    select distinct %(prefix)s || coalesce(s.settings ->> 'topic_prefix', '') || latest.channel
    from outbox.subscription s
    cross join latest
    where s.kind = 'kafka' and outbox.other_cluster(s.settings) = ''
      and case when s.channels is null then not starts_with(latest.channel, 'outbox.')
               else latest.channel = any (s.channels) end
"""
EXACTLY_ONCE = """
    select id::text from outbox.installation
    where exists (select from outbox.subscription
                  where delivery = 'exactly_once' and outbox.other_cluster(settings) = '')
"""


NEEDED = """
    select exists (select from outbox.subscription
                   where kind = 'kafka' and outbox.other_cluster(settings) = '' and not paused)
"""


def wanted(connection: Connection, settings: Settings) -> Wanted:
    """Of all subscriptions together. Raises psycopg.Error."""
    topics = connection.execute(TOPICS, {"prefix": settings.topic_prefix})
    names = frozenset(topic for (topic,) in topics)
    installation = connection.execute(EXACTLY_ONCE).fetchone()
    needed = connection.execute(NEEDED).fetchone()
    return Wanted(needed is None or needed[0], names, installation[0] if installation else None)


def examine(settings: Settings, wanted: Wanted) -> Iterator[Finding]:
    """Whether the cluster answers, has the topics, and takes transactions where they are wanted."""
    servers = settings.kafka.get("bootstrap.servers")
    if servers is None and not wanted.needed:
        yield ok("Kafka", "KAFKA_BOOTSTRAP_SERVERS is not set, and no subscription needs it")
        return
    if servers is None:
        text = "KAFKA_BOOTSTRAP_SERVERS is not set"
        yield Finding("fault", "Kafka", text, "write host:port,host:port")
        return
    try:
        # `log.queue`, which is never read, keeps librdkafka's own complaints off the table.
        admin = AdminClient({**settings.kafka, "log.queue": "true"})
        cluster = admin.list_topics(timeout=KAFKA_TIMEOUT_SECONDS)
    except confluent_kafka.KafkaException as fault:
        hint = "start it, or correct KAFKA_BOOTSTRAP_SERVERS and the KAFKA_* of its security"
        yield Finding("fault", "Kafka", f"{servers}: {fault.args[0].str()}", hint)
        return
    yield ok("Kafka", f"{len(cluster.brokers)} brokers, {len(cluster.topics)} topics in sight")
    missing = sorted(wanted.topics - cluster.topics.keys())
    for topic in missing[:20]:
        text = f"topic {topic} is not there, or not for this relay to see: its channel waits alone"
        yield Finding(
            "warning", "topics", text, "make it, or allow it; the channel then catches up"
        )
    if wanted.topics and not missing:
        count = len(wanted.topics)
        yield ok("topics", f"there are all {count} that the messages of late go to")
    if wanted.installation is not None:
        properties = {**DEFAULTS, **settings.kafka, "log.queue": "true"}
        yield transactions_of(properties, settings.topic_prefix, wanted.installation)


def transactions_of(properties: dict[str, Any], prefix: str, installation: str) -> Finding:
    """Tries a transaction that carries a cursor, under a name and a group of the doctor's own."""
    reports = Reports(KAFKA_TIMEOUT_SECONDS, threading.Event(), Heartbeat())
    transactions = Transactions(properties, reports, prefix)
    try:
        transactions.fence(f"outbox.{installation}.doctor")
        transactions.begin()
        transactions.commit("")
    except SinkAway as refused:
        hint = (
            f"let the relay's user use transactional ids and groups that begin with outbox., and "
            f"topic {prefix}{CURSORS}; the brokers' log of transactions needs as "
            "many replicas as transaction.state.log.min.isr"
        )
        return Finding("fault", "transactions", str(refused), hint)
    finally:
        transactions.close()
    return ok("transactions", "one that carries a cursor was committed")
