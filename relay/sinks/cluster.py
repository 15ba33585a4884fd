"""The sink of a Kafka subscription: the environment's cluster, the subscription's terms."""

import threading

from relay.cursor import Terms
from relay.heartbeat import Heartbeat
from relay.settings import Settings
from relay.sink import SinkAway
from relay.sinks.kafka import KafkaSink
from relay.sinks.producers import DEFAULTS, Producers
from relay.sinks.reports import Reports
from relay.sinks.topics import Topics
from relay.sinks.transactions import CURSORS, Transactions
from relay.sinks.wire import Wire


def kafka_sink(
    settings: Settings, terms: Terms, stop: threading.Event, heartbeat: Heartbeat
) -> KafkaSink:
    """A sink that connects when it is opened. Raises SinkAway where no cluster is named."""
    if "bootstrap.servers" not in settings.kafka:
        raise SinkAway("KAFKA_BOOTSTRAP_SERVERS is not set")
    properties = {**DEFAULTS, **settings.kafka}
    reports = Reports(settings.barrier_seconds, stop, heartbeat)
    wire: Wire = (
        Transactions(properties, reports, settings.topic_prefix)
        if terms.exactly_once
        else Producers(properties, reports)
    )
    prefix = settings.topic_prefix
    topics = Topics(properties, prefix + terms.topic_prefix, own=prefix + CURSORS)
    codec = properties.get("compression.type", properties.get("compression.codec", "none"))
    return KafkaSink(wire, topics, settings.event_source, compressing=codec != "none")
