"""What the doctor finds about connectors: whether this relay reaches what they lead to."""

import threading
from collections.abc import Iterator, Sequence

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg.rows import class_row

from relay.database import Connection
from relay.doctor import kafka, pubsub, queues
from relay.doctor.finding import Finding, ok
from relay.kafka.connectors import other_cluster
from relay.kafka.reports import Reports
from relay.kafka.topic import not_shown
from relay.kafka.topic_names import TopicNames
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from relay.push.policy.settings import decode
from relay.settings import Settings


class Connector(msgspec.Struct, frozen=True):
    """As its row has it; `installation` begins the names of its transactions."""

    name: str
    kind: str
    settings: str
    channels: list[str] | None
    delivery: str
    topic_prefix: str
    topic: str
    cluster: str
    installation: str


# How a connector is looked at that leads to no cluster.
LOOKS = {"pubsub": pubsub.look, "sqs": queues.look}
# Each may take as long as a cluster that does not answer.
MAX_EXAMINED = 20
CONNECTORS = """
    select s.name, s.kind, s.settings::text as settings, s.channels, s.delivery,
           coalesce(s.settings ->> 'topic_prefix', '') as topic_prefix,
           outbox.connector_topic(s.settings, s.channels) as topic,
           outbox.other_cluster(s.settings) as cluster, i.id::text as installation
    from outbox.subscription s cross join outbox.installation i
    where outbox.other_cluster(s.settings) <> ''
    order by s.paused, s.name
    limit %s
"""


def connectors(connection: Connection) -> list[Connector]:
    """Those that are examined, and one more where there are more. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Connector)) as cursor:
        return cursor.execute(CONNECTORS, (MAX_EXAMINED + 1,)).fetchall()


def look_up(found: Sequence[Connector], settings: Settings) -> Iterator[Finding]:
    """Whether each reaches what it leads to, finds its topics and may begin a transaction."""
    for one in found[:MAX_EXAMINED]:
        yield from (
            _look(one, settings)
            if one.kind == "kafka"
            else LOOKS[one.kind](one.name, decode(one.settings, one.kind, one.topic), settings)
        )
    if len(found) > MAX_EXAMINED:
        yield ok("connector", f"these {MAX_EXAMINED} were tried, and there are more")


def _look(one: Connector, settings: Settings) -> Iterator[Finding]:
    rules = other_cluster.rules(one.cluster)
    reports = Reports(kafka.KAFKA_TIMEOUT_SECONDS, threading.Event(), Heartbeat(), rules)
    try:
        properties = other_cluster.properties(one.cluster, settings)
        asking = {**properties, "log.queue": "true", "error_cb": reports.on_error}
        admin = AdminClient(asking)
        try:
            seen = admin.list_topics(timeout=kafka.KAFKA_TIMEOUT_SECONDS).topics
        except KafkaException as fault:
            admin.poll(0)
            raise reports.away(fault.args[0].str()) from fault
    except KafkaException as fault:
        yield _fault(one, fault.args[0].str())
        return
    except SinkAway as fault:
        yield _fault(one, str(fault))
        return
    names = TopicNames(one.topic_prefix, one.topic)
    wanted = {names.of(channel.encode()) for channel in one.channels or ()}
    missing = sorted(wanted - seen.keys())
    for topic in missing:
        text = f"{one.name}: {not_shown(topic, rules).reason}"
        yield Finding("warning", "connector", text, "make it, or allow it")
    if one.delivery == "exactly_once":
        tried = kafka.transactions_of({**properties, "log.queue": "true"}, "", one.installation)
        if tried.level != "ok":
            yield Finding(tried.level, "connector", f"{one.name}: {tried.text}", tried.hint)
            return
    if not missing:
        yield ok("connector", f"{one.name} reaches its cluster")


def _fault(one: Connector, words: str) -> Finding:
    hint = (
        "start that cluster, correct the connector's config, or give this relay what it lacks: "
        "RELAY_CREDENTIALS_…, RELAY_ALLOW_HOSTS"
    )
    return Finding("fault", "connector", f"{one.name}: {words}", hint)
