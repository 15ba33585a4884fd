"""What the panel shows, read from the databases and from Kafka while the demo runs."""

from typing import Any, LiteralString, Self

import msgspec
import psycopg

from demo.places import CONSUMERS, Places
from demo.topics import Topics


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """One look. Dicts are by status, by channel and by consumer; the lag is in seconds."""

    orders: dict[str, int]
    log: dict[str, int]
    topics: dict[str, int]
    backlog: int
    lag_seconds: float
    webhooks: int
    applied: dict[str, int]
    ignored: dict[str, int]

    @property
    def settled(self) -> bool:
        """Everything that was committed has been carried, and applied by both consumers."""
        success = self.log.get("payment.success", 0)
        return not self.backlog and all(self.applied[name] == success for name in CONSUMERS)


ORDERS = "select status, count(*) from sale.sale_order group by status"
LOG = """
    select channel, count(*) from outbox.message
    where not starts_with(channel, 'outbox.') group by channel
"""
BACKLOG = """
    select coalesce(sum(messages), 0),
           coalesce(extract(epoch from clock_timestamp() - min(oldest_at)), 0)
    from outbox.subscription_backlog
"""
WEBHOOKS = "select count(*) from sale.received_webhook"
APPLIED = "select count(*) from inbox.received where consumer = %s"
IGNORED = "select count(*) from repeated"


class Instruments:
    """Connections that are held for reading gauges; used by one thread at a time."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._topics = Topics(places.bootstrap_servers, places.topics())
        self._sale = psycopg.connect(places.sale, autocommit=True)
        self._consumers = {
            name: psycopg.connect(url, autocommit=True) for name, url in places.books.items()
        }

    def read(self) -> Gauges:
        """Raises psycopg.Error and KafkaException."""
        ((backlog, lag_seconds),) = self._sale.execute(BACKLOG).fetchall()
        prefix = self._places.prefix
        return Gauges(
            orders=dict(self._sale.execute(ORDERS).fetchall()),
            log=dict(self._sale.execute(LOG).fetchall()),
            topics={
                topic.removeprefix(prefix): count for topic, count in self._topics.counts().items()
            },
            backlog=int(backlog),
            lag_seconds=float(lag_seconds),
            webhooks=_number(self._sale, WEBHOOKS),
            applied={name: _number(each, APPLIED, name) for name, each in self._consumers.items()},
            ignored={name: _number(each, IGNORED) for name, each in self._consumers.items()},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._topics.close()
        for connection in (self._sale, *self._consumers.values()):
            connection.close()


def _number(connection: psycopg.Connection[Any], statement: LiteralString, *parameters: str) -> int:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0])
