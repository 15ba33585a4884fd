"""What the panel shows, read from the databases and from Kafka while the demo runs."""

import threading
from typing import Any, LiteralString, Self

import msgspec
import psycopg

from demo.connectors import PURCHASING, WAREHOUSE
from demo.consumers import inventory
from demo.places import CONSUMERS, Places
from demo.subscribers import records
from demo.subscriptions import CHANNEL, SUBSCRIBERS
from demo.topics import Topics


class Pushes(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber, or connector: what has arrived, what waits in the log and since when, and
    in rows; `breaker` is empty where there is none."""

    delivered: int
    backlog: int
    lag_seconds: float
    rows: int
    breaker: str


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """One look. Dicts are by status, by channel, by consumer, by subscriber and by connector.

    `backlog` and `lag_seconds` are those of Kafka.
    """

    orders: dict[str, int]
    log: dict[str, int]
    topics: dict[str, int]
    backlog: int
    lag_seconds: float
    webhooks: int
    applied: dict[str, int]
    ignored: dict[str, int]
    pushed: dict[str, Pushes]
    bridged: dict[str, Pushes]

    @property
    def settled(self) -> bool:
        """Everything that was committed has been carried, and applied by whom it is for."""
        success, lifecycle = self.log.get("payment.success", 0), self.log.get(CHANNEL, 0)
        updates = self.log.get(inventory.CHANNEL, 0)
        return (
            not self.backlog
            and all(self.applied[name] == success for name in CONSUMERS)
            and all(
                each.delivered == lifecycle and not each.backlog and not each.rows
                for each in self.pushed.values()
            )
            # What came twice is for the reckoning to tell.
            and all(
                each.delivered >= updates and not each.backlog and not each.rows
                for each in self.bridged.values()
            )
        )


ORDERS = "select status, count(*) from sale.sale_order group by status"
LOG = """
    select channel, count(*) from outbox.message
    where not starts_with(channel, 'outbox.') group by channel
"""
BACKLOG = """
    select subscription, sum(messages)::bigint,
           coalesce(extract(epoch from clock_timestamp() - min(oldest_at)), 0)::float8
    from outbox.subscription_backlog
    group by subscription
"""
ROWS = """
    select subscription, untried + retrying + in_flight + behind + parked
    from outbox.delivery_summary
"""
# Those that are not there are closed.
BREAKERS = "select subscription, state from outbox.breaker_state"
WEBHOOKS = "select count(*) from sale.received_webhook"
APPLIED = "select count(*) from inbox.received where consumer = %s"
IGNORED = "select count(*) from repeated"


class Instruments:
    """Connections that are held for reading gauges; used by one thread at a time.

    The end waits for the reading that is under way in another thread: librdkafka's reader must not
    be closed under it.
    """

    def __init__(self, places: Places) -> None:
        self._in_use = threading.Lock()
        self._places = places
        self._topics = Topics(places.bootstrap_servers, places.topics())
        self._other_topic = Topics(places.other_bootstrap_servers, [places.other_topic])
        self._sale = psycopg.connect(places.sale, autocommit=True)
        self._consumers = {
            name: psycopg.connect(url, autocommit=True) for name, url in places.books.items()
        }

    def read(self) -> Gauges:
        """Raises psycopg.Error and KafkaException."""
        with self._in_use:
            return self._read()

    def _read(self) -> Gauges:
        stock = self._consumers[inventory.NAME]
        backlog, lag_seconds = self._kafka_backlog()
        prefix = self._places.prefix
        return Gauges(
            orders=dict(self._sale.execute(ORDERS).fetchall()),
            log=dict([*self._sale.execute(LOG), *stock.execute(LOG)]),
            topics={
                topic.removeprefix(prefix): count for topic, count in self._topics.counts().items()
            },
            backlog=backlog,
            lag_seconds=lag_seconds,
            webhooks=_number(self._sale, WEBHOOKS),
            applied={name: _number(each, APPLIED, name) for name, each in self._consumers.items()},
            ignored={name: _number(each, IGNORED) for name, each in self._consumers.items()},
            pushed=_pushes(
                self._sale,
                {
                    name: records.counts(self._places.records[name])["accepted"]
                    for name in SUBSCRIBERS
                },
            ),
            bridged=_pushes(
                stock,
                {
                    WAREHOUSE: self._other_topic.counts()[self._places.other_topic],
                    PURCHASING: self._places.queue.count(),
                },
            ),
        )

    def _kafka_backlog(self) -> tuple[int, float]:
        """Of both logs together: how much waits, and for how long the oldest of it."""
        waiting = [
            (backlog, lag_seconds)
            for log in (self._sale, self._consumers[inventory.NAME])
            for name, backlog, lag_seconds in log.execute(BACKLOG)
            if name == "kafka"
        ]
        return sum(backlog for backlog, _ in waiting), max(seconds for _, seconds in waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._in_use:
            self._topics.close()
            self._other_topic.close()
            for connection in (self._sale, *self._consumers.values()):
                connection.close()


def _pushes(connection: psycopg.Connection[Any], delivered: dict[str, int]) -> dict[str, Pushes]:
    """Of those subscriptions of the log there of which it is told what they have delivered."""
    waiting = {name: rest for name, *rest in connection.execute(BACKLOG)}
    rows: dict[str, int] = dict(connection.execute(ROWS).fetchall())
    breakers: dict[str, str] = dict(connection.execute(BREAKERS).fetchall())
    pushes = {}
    for name, count in delivered.items():
        # Before anybody has subscribed there is nothing.
        backlog, lag_seconds = waiting.get(name, (0, 0.0))
        pushes[name] = Pushes(
            delivered=count,
            backlog=backlog,
            lag_seconds=lag_seconds,
            rows=rows.get(name, 0),
            breaker="" if name == WAREHOUSE else breakers.get(name, "closed"),
        )
    return pushes


def _number(connection: psycopg.Connection[Any], statement: LiteralString, *parameters: str) -> int:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0])
