"""What a lane works with: the way to the database, and the one to the receiving system."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from relay.cursor import Cursor
from relay.database import Pool, connect, pool
from relay.push.courier import Courier
from relay.push.runs import PushRuns
from relay.run import Ran, Runs
from relay.settings import Settings
from relay.sinks.cluster import kafka_sink
from relay.telemetry import Telemetry

CLOSE_SECONDS = 0.5


class Works(Protocol):
    """Runs of one subscription's cursors."""

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where it is another relay's."""

    def probe(self, subscription_id: int) -> list[Cursor]:
        """Its cursors that have work."""


class Sessions:
    """Opens sessions of either kind.

    The endpoints' share one courier and one pool of connections, made when they are needed: there
    may be more endpoints than a database takes connections, and most of the time few have work.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, stop: threading.Event) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        self._lock = threading.Lock()
        self._push: tuple[Courier, Pool] | None = None

    @contextmanager
    def open(self, cursor: Cursor) -> Iterator[Works]:
        """A session for this cursor's subscription, on its terms.

        Raises SinkAway and psycopg.OperationalError.
        """
        if cursor.kind == "http":
            courier, connections = self._shared()
            yield PushRuns(connections, courier, self._settings, self._telemetry)
            return
        sink = kafka_sink(self._settings, cursor.terms, self._stop)
        try:
            sink.open()
            with (
                connect(self._settings) as connection,
                closing(Runs(connection, sink, self._settings, self._telemetry)) as runs,
            ):
                yield runs
        finally:
            sink.close()

    def forget(self, subscription_id: int) -> None:
        """The subscription is gone."""
        if self._push is not None:
            self._push[0].forget(subscription_id)

    def close(self, within_seconds: float) -> None:
        """Ends what the sessions shared; after the last of them."""
        if self._push is not None:
            courier, connections = self._push
            courier.close(within_seconds)
            connections.close(CLOSE_SECONDS)

    def _shared(self) -> tuple[Courier, Pool]:
        with self._lock:
            if self._push is None:
                self._push = Courier(self._settings, self._telemetry), pool(self._settings)
            return self._push
