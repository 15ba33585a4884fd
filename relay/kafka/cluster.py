"""The sink of a Kafka subscription: the environment's cluster, the subscription's sink settings."""

import threading

from relay.kafka.exactly_once.transactions import CURSORS, Transactions
from relay.kafka.producers import DEFAULTS, Producers
from relay.kafka.reports import Reports
from relay.kafka.routes import Wire
from relay.kafka.sink import KafkaSink
from relay.kafka.topics import Topics
from relay.log.cursor import SinkSettings
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings


def kafka_sink(
    settings: Settings, sink_settings: SinkSettings, stop: threading.Event, heartbeat: Heartbeat
) -> KafkaSink:
    """A sink that connects when it is opened. Raises SinkAway where no cluster is named."""
    if "bootstrap.servers" not in settings.kafka:
        raise SinkAway("KAFKA_BOOTSTRAP_SERVERS is not set")
    properties = {**DEFAULTS, **settings.kafka}
    reports = Reports(settings.barrier_seconds, stop, heartbeat)
    wire: Wire = (
        Transactions(properties, reports, settings.topic_prefix)
        if sink_settings.exactly_once
        else Producers(properties, reports)
    )
    prefix = settings.topic_prefix
    topics = Topics(properties, prefix + sink_settings.topic_prefix, own=prefix + CURSORS)
    codec = properties.get("compression.type", properties.get("compression.codec", "none"))
    return KafkaSink(wire, topics, settings.event_source, compressing=codec != "none")
