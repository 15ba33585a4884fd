"""The sink of Kafka subscriptions: the environment's cluster, with one of its two guarantees."""

import threading

from relay.kafka.destination import Destinations
from relay.kafka.exactly_once.transactions import CURSORS, Transactions
from relay.kafka.producers import DEFAULTS, Producers
from relay.kafka.reports import Reports
from relay.kafka.routes import Wire
from relay.kafka.sink import KafkaSink
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings


def kafka_sink(
    settings: Settings, stop: threading.Event, heartbeat: Heartbeat, *, exactly_once: bool
) -> KafkaSink:
    """A sink that connects when it is opened. Raises SinkAway where no cluster is named."""
    if "bootstrap.servers" not in settings.kafka:
        raise SinkAway("KAFKA_BOOTSTRAP_SERVERS is not set")
    properties = {**DEFAULTS, **settings.kafka}
    reports = Reports(settings.barrier_seconds, stop, heartbeat)
    wire: Wire = (
        Transactions(properties, reports, settings.topic_prefix)
        if exactly_once
        else Producers(properties, reports)
    )
    prefix = settings.topic_prefix
    destinations = Destinations(wire, properties, prefix, own=prefix + CURSORS)
    codec = properties.get("compression.type", properties.get("compression.codec", "none"))
    return KafkaSink(wire, destinations, settings.event_source, compressing=codec != "none")
