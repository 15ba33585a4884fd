"""What a lane works with: one connection to the database, and the way to the receiving system."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from relay.cursor import Cursor
from relay.database import Connection, connect
from relay.push.courier import Courier
from relay.push.runs import PushRuns
from relay.run import Ran, Runs
from relay.settings import Settings
from relay.sinks.cluster import kafka_sink
from relay.telemetry import Telemetry


class Works(Protocol):
    """Runs of one subscription's cursors."""

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where it is another relay's."""


class Sessions:
    """Opens sessions of either kind; the endpoints' share one courier, made when it is needed."""

    def __init__(self, settings: Settings, telemetry: Telemetry, stop: threading.Event) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        self._lock = threading.Lock()
        self._courier: Courier | None = None

    @contextmanager
    def open(self, cursor: Cursor) -> Iterator[tuple[Connection, Works]]:
        """A session for this cursor's subscription, on its terms.

        Raises SinkAway and psycopg.OperationalError.
        """
        if cursor.kind == "http":
            with connect(self._settings) as connection:
                yield (
                    connection,
                    PushRuns(connection, self._the_courier(), self._settings, self._telemetry),
                )
            return
        sink = kafka_sink(self._settings, cursor.terms, self._stop)
        try:
            sink.open()
            with (
                connect(self._settings) as connection,
                closing(Runs(connection, sink, self._settings, self._telemetry)) as runs,
            ):
                yield connection, runs
        finally:
            sink.close()

    def close(self) -> None:
        """Ends what the sessions shared; after the last of them."""
        if self._courier is not None:
            self._courier.close()

    def _the_courier(self) -> Courier:
        with self._lock:
            if self._courier is None:
                self._courier = Courier(self._settings, self._telemetry)
            return self._courier
