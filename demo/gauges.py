"""What the panel shows, read from the databases and from Kafka while the demo runs."""

from typing import Any, LiteralString, Self

import msgspec
import psycopg

from demo.places import CONSUMERS, Places
from demo.subscribers import records
from demo.subscriptions import CHANNEL, SUBSCRIBERS
from demo.topics import Topics


class Pushes(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber: what it has taken, what waits in the log and since when, and in rows."""

    delivered: int
    backlog: int
    lag_seconds: float
    rows: int
    breaker: str


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """One look. Dicts are by status, by channel, by consumer and by subscriber.

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

    @property
    def settled(self) -> bool:
        """Everything that was committed has been carried, and applied by whom it is for."""
        success, lifecycle = self.log.get("payment.success", 0), self.log.get(CHANNEL, 0)
        return (
            not self.backlog
            and all(self.applied[name] == success for name in CONSUMERS)
            and all(
                each.delivered == lifecycle and not each.backlog and not each.rows
                for each in self.pushed.values()
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
        waiting = {name: rest for name, *rest in self._sale.execute(BACKLOG)}
        backlog, lag_seconds = waiting["kafka"]
        prefix = self._places.prefix
        return Gauges(
            orders=dict(self._sale.execute(ORDERS).fetchall()),
            log=dict(self._sale.execute(LOG).fetchall()),
            topics={
                topic.removeprefix(prefix): count for topic, count in self._topics.counts().items()
            },
            backlog=backlog,
            lag_seconds=lag_seconds,
            webhooks=_number(self._sale, WEBHOOKS),
            applied={name: _number(each, APPLIED, name) for name, each in self._consumers.items()},
            ignored={name: _number(each, IGNORED) for name, each in self._consumers.items()},
            pushed=self._pushed(waiting),
        )

    def _pushed(self, waiting: dict[str, list[Any]]) -> dict[str, Pushes]:
        rows: dict[str, int] = dict(self._sale.execute(ROWS).fetchall())
        breakers: dict[str, str] = dict(self._sale.execute(BREAKERS).fetchall())
        pushed = {}
        for name in SUBSCRIBERS:
            # Before anybody has subscribed there is nothing.
            backlog, lag_seconds = waiting.get(name, (0, 0.0))
            pushed[name] = Pushes(
                delivered=records.counts(self._places.records[name])["accepted"],
                backlog=backlog,
                lag_seconds=lag_seconds,
                rows=rows.get(name, 0),
                breaker=breakers.get(name, "closed"),
            )
        return pushed

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
