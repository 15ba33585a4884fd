"""What the panel shows, read from the four databases while the demo runs."""

import threading
from typing import Any, LiteralString, Self

import msgspec
import psycopg

from demo.saga.messages import ROUTES
from demo.saga.places import SERVICES, Places


class Hop(msgspec.Struct, frozen=True):
    """One channel: what its sender has committed, and what its receiver applied and knew."""

    committed: int
    applied: int


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `sagas` are counted by state and step, `events` by their names, `hops` by channel.

    `repeated` counts what came again and was known, `tombstones` compensations that came first.
    `unknown` are charges and refunds of which the provider's answer is not known yet.
    """

    sagas: dict[tuple[str, str], int]
    events: dict[str, int]
    hops: dict[str, Hop]
    repeated: int
    tombstones: int
    unknown: int

    def in_state(self, state: str) -> int:
        return sum(count for (each, _), count in self.sagas.items() if each == state)

    @property
    def pending(self) -> int:
        return self.in_state("forward") + self.in_state("backward")

    @property
    def ended(self) -> int:
        return self.in_state("delivered") + self.in_state("undone")

    @property
    def settled(self) -> bool:
        """No saga waits, every message has come and nobody owes the provider a question."""
        have_come = all(hop.applied == hop.committed for hop in self.hops.values())
        return not self.pending and have_come and not self.unknown


SAGAS = "select state, step, count(*) from shop.saga group by state, step"
EVENTS = "select event, count(*) from shop.history group by event"
COMMITTED = "select channel, count(*) from outbox.message where channel = any (%s) group by channel"
APPLIED = "select consumer, count(*) from inbox.received group by consumer"
REPEATED = "select count(*) from repeated"
UNKNOWN = "select count(*) from payment.charge where state in ('asked', 'returning')"
TOMBSTONES: dict[str, LiteralString] = {
    "inventory": "select count(*) from inventory.reservation where state = 'tombstone'",
    "payment": "select count(*) from payment.charge where state = 'tombstone'",
    "fulfilment": "select count(*) from fulfilment.parcel where state = 'tombstone'",
}


class Instruments:
    """Connections that are held for reading gauges; used by one thread at a time.

    The end waits for the reading that is under way in another thread.
    """

    def __init__(self, places: Places) -> None:
        self._in_use = threading.Lock()
        self._connections = {
            service: psycopg.connect(places.databases[service], autocommit=True)
            for service in SERVICES
        }

    def read(self) -> Gauges:
        """Raises psycopg.Error."""
        with self._in_use:
            return self._read()

    def _read(self) -> Gauges:
        order = self._connections["order"]
        committed: dict[str, int] = {}
        applied: dict[str, int] = {}
        for connection in self._connections.values():
            # First what was applied: looked at the other way round, it might be more.
            applied |= dict(connection.execute(APPLIED).fetchall())
        for connection in self._connections.values():
            committed |= dict(connection.execute(COMMITTED, [list(ROUTES)]).fetchall())
        return Gauges(
            sagas={(state, step): count for state, step, count in order.execute(SAGAS)},
            events=dict(order.execute(EVENTS).fetchall()),
            hops={
                channel: Hop(committed.get(channel, 0), applied.get(channel, 0))
                for channel in ROUTES
            },
            repeated=sum(number(each, REPEATED) for each in self._connections.values()),
            tombstones=sum(
                number(self._connections[service], statement)
                for service, statement in TOMBSTONES.items()
            ),
            unknown=number(self._connections["payment"], UNKNOWN),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._in_use:
            for connection in self._connections.values():
                connection.close()


def number(connection: psycopg.Connection[Any], statement: LiteralString) -> int:
    """What an aggregate says."""
    row = connection.execute(statement).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0])
