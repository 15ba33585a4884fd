"""Loops that can be seen from here: a source's topic is one that its channel goes out to.

The header ends each loop, and outbox.leads_round refuses those that settings show. Here the names
of topics have this relay's prefix, and clusters are compared by the ids that they give themselves.
"""

import threading

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg.rows import class_row

from relay.database import Connection
from relay.log.sink import SinkAway
from relay.settings import Settings
from relay.sources.kafka.reader import ASK_SECONDS, properties_of
from relay.sources.source import Source, Stopped

# So many other clusters are asked; they may be anybody's, and may not answer.
MAX_ASKED = 8


class Outward(msgspec.Struct, frozen=True):
    """A subscription that gets what enters; `made_by` is the limited API key that made it."""

    name: str
    cluster: str
    made_by: str | None


# `prefix` is of the relay's own cluster alone.
SAME_TOPIC = """
    select name, outbox.other_cluster(settings) as cluster, made_by
    from outbox.subscription
    where kind = 'kafka'
      and case when channels is null then true else %(channel)s = any (channels) end
      and coalesce(settings ->> 'topic', settings ->> 'event_hub',
                   case when outbox.other_cluster(settings) = '' then %(prefix)s else '' end
                   || coalesce(settings ->> 'topic_prefix', '') || %(channel)s) = %(topic)s
    order by name
"""


def outward(connection: Connection, source: Source, topic_prefix: str) -> list[Outward]:
    """The subscriptions that take its channel to a topic of its topic's name."""
    values = {"channel": source.channel, "topic": source.topic, "prefix": topic_prefix}
    with connection.cursor(row_factory=class_row(Outward)) as cursor:
        return cursor.execute(SAME_TOPIC, values).fetchall()


class Loops:
    """Of one session of a source. Other clusters are asked by a thread of its own: nothing waits
    for them.
    """

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._settings = settings
        self._known: list[Outward] = []
        self._asking: threading.Thread | None = None
        self._found: str | None = None

    def look(self, connection: Connection) -> None:
        """In the transaction under way. Raises Stopped where one is known by now."""
        found = outward(connection, self._source, self._settings.topic_prefix)
        for one in found:
            if one.cluster == self._source.cluster:
                raise going_round(self._source, one.name)
        if self._found in {one.name for one in found}:
            raise going_round(self._source, str(self._found))
        if found and found != self._known and (self._asking is None or not self._asking.is_alive()):
            self._known = found
            self._asking = threading.Thread(
                target=self._ask, args=[found[:MAX_ASKED]], name="loops", daemon=True
            )
            self._asking.start()

    def _ask(self, others: list[Outward]) -> None:
        own = _cluster_id(self._source.cluster, self._settings, None)
        for one in others:
            theirs = _cluster_id(one.cluster, self._settings, one.made_by)
            if theirs is not None and theirs == own:
                self._found = one.name


def going_round(source: Source, name: str) -> Stopped:
    return Stopped(
        f"it would go round: {name} takes channel {source.channel} to the topic {source.topic} of "
        "the same cluster. Which of the two is meant? Delete the other, or give it another topic "
        "or channel; then resume this one"
    )


def _cluster_id(cluster: str, settings: Settings, made_by: str | None) -> str | None:
    """None where it does not answer."""
    try:
        admin = AdminClient(properties_of(cluster, settings, made_by))
        answer = admin.describe_cluster(request_timeout=ASK_SECONDS)
        return str(answer.result(ASK_SECONDS + 1).cluster_id)
    except (SinkAway, KafkaException, TimeoutError):
        return None
