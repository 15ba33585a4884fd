"""The sink of Kafka subscriptions: one cluster, with one of its two guarantees."""

import threading
from typing import Any

from confluent_kafka import KafkaException

from relay.kafka.connectors import other_cluster
from relay.kafka.destination import Destinations
from relay.kafka.exactly_once.transactions import CURSORS, Transactions
from relay.kafka.producers import DEFAULTS, Producers
from relay.kafka.reports import Reports
from relay.kafka.routes import Wire
from relay.kafka.sink import KafkaSink
from relay.log.cursor import SinkSettings
from relay.log.data_schemas import DataSchemas
from relay.log.path import NOWHERE, OwnPath
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

# There may be many other clusters, and any may be slow or not what it says it is: so much may wait
# for one, and one answer of it may be so large.
BOUNDS: dict[str, Any] = {
    "queue.buffering.max.kbytes": 4096,
    "queue.buffering.max.messages": 10_000,
    "receive.message.max.bytes": 16_000_000,
}
# Each has a producer of its own, and there are as many as a connector has shards and priorities. Of
# more than so many each run begins with half a second in which it becomes the owner.
MAX_OWNERS = 8


def kafka_sink(
    settings: Settings,
    stop: threading.Event,
    heartbeat: Heartbeat,
    wanted: SinkSettings,
    made_by: str | None = None,
    path: OwnPath = NOWHERE,
) -> KafkaSink:
    """A sink that connects when it is opened; for what an API key of this name has made.

    Raises SinkAway where no cluster is named, or this relay can't go there as it is configured.
    """
    properties, prefix = _cluster(settings, wanted, made_by)
    rules = other_cluster.rules(wanted.cluster)
    reports = Reports(settings.barrier_seconds, stop, heartbeat, rules)
    try:
        wire: Wire = (
            Transactions(properties, reports, prefix, MAX_OWNERS if wanted.cluster else None)
            if wanted.exactly_once
            else Producers(properties, reports, rules, few=bool(wanted.cluster))
        )
        destinations = Destinations(wire, properties, prefix, prefix + CURSORS, rules)
    except KafkaException as refused:
        # As for a certificate that is none.
        raise SinkAway(refused.args[0].str()) from refused
    codec = properties.get("compression.type", properties.get("compression.codec", "none"))
    return KafkaSink(
        wire,
        destinations,
        settings.event_source,
        rules,
        path,
        DataSchemas(settings.event_types_url),
        compressing=codec != "none",
    )


def _cluster(
    settings: Settings, wanted: SinkSettings, made_by: str | None
) -> tuple[dict[str, Any], str]:
    """What its clients are configured with, and what comes before each of its topics."""
    if wanted.cluster:
        return {**other_cluster.properties(wanted.cluster, settings, made_by), **BOUNDS}, ""
    if "bootstrap.servers" not in settings.kafka:
        raise SinkAway("KAFKA_BOOTSTRAP_SERVERS is not set")
    return {**DEFAULTS, **settings.kafka}, settings.topic_prefix
