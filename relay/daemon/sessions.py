"""What a worker works with: a session of the database and one of the receiver."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial

import psycopg

from relay.database import Connection, Pool, connect, pool, transaction
from relay.kafka.cluster import kafka_sink
from relay.kafka.runs import KafkaRuns
from relay.log.cursor import Cursor
from relay.log.path import NOWHERE, OwnPath
from relay.log.run import LookingRuns, SharedRuns
from relay.log.sink import Sink, SinkAway
from relay.log.waiting_note import note_away
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat, nothing
from relay.process.interval import Interval
from relay.push.requests.loop import RequestLoop
from relay.push.runs import PushRuns
from relay.push.shared_runs import SharedPushRuns
from relay.settings import Settings

CLOSE_SECONDS = 0.5
PURGE_SECONDS = 1.0
# How often it is noted that a cluster is out of reach.
TELL_SECONDS = 5.0


class Sessions:
    """Opens sessions of either kind.

    Those to endpoints and queues share one request loop and one pool of connections, made when
    they are needed: there may be more of them than a database takes connections, and most of the
    time few have work.
    """

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        stop: threading.Event,
        path: OwnPath = NOWHERE,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        self._path = path
        self._lock = threading.Lock()
        self._push: tuple[RequestLoop, Pool] | None = None
        # By subscription: the cluster that was out of reach, and when that was noted.
        self._told: dict[int, tuple[str, Interval]] = {}

    @contextmanager
    def shared(self, cursors: Sequence[Cursor], heartbeat: Heartbeat) -> Iterator[SharedRuns]:
        """A session for cursors of many subscriptions of one target. Raises as `open`."""
        if cursors[0].kind == "kafka":
            with self._kafka(cursors, heartbeat, shared=True) as runs:
                yield runs
            return
        request_loop, _ = self._shared()
        with connect(self._settings) as connection:
            yield SharedPushRuns(connection, request_loop, self._settings, self._telemetry)

    @contextmanager
    def open(self, cursors: Sequence[Cursor], heartbeat: Heartbeat) -> Iterator[LookingRuns]:
        """A session for cursors of one subscription.

        One to Kafka shows by `heartbeat` that it lives, and can be let go by it.
        Raises SinkAway and psycopg.OperationalError.
        """
        if cursors[0].kind == "kafka":
            with self._kafka(cursors, heartbeat, shared=False) as runs:
                yield runs
            return
        request_loop, connections = self._shared()
        yield PushRuns(connections, request_loop, self._settings, self._telemetry)

    @contextmanager
    def _kafka(
        self, cursors: Sequence[Cursor], heartbeat: Heartbeat, *, shared: bool
    ) -> Iterator[KafkaRuns]:
        heartbeat.watch()
        sink: Sink | None = None
        try:
            first = cursors[0]
            sink = kafka_sink(
                self._settings,
                self._stop,
                heartbeat,
                first.sink_settings,
                first.made_by,
                self._path,
            )
            heartbeat.beat()
            sink.open()
            heartbeat.beat()
            with (
                connect(self._settings, heartbeat) as connection,
                closing(
                    KafkaRuns(
                        connection,
                        sink,
                        self._settings,
                        self._telemetry,
                        heartbeat,
                        shared=shared,
                    )
                ) as runs,
            ):
                heartbeat.let_go = partial(let_go, sink, connection)
                yield runs
        except SinkAway as away:
            with heartbeat.elsewhere():
                cluster = cursors[0].sink_settings.cluster
                for subscription_id in {cursor.subscription_id for cursor in cursors}:
                    self._tell(subscription_id, cluster, f"relay {self._settings.name}: {away}")
            raise
        finally:
            heartbeat.beat()
            if sink is not None:
                sink.close()
            # The sink knows the heartbeat. In a circle its clients, each with threads and sockets,
            # would last until the next collection, and end in any thread.
            heartbeat.let_go = nothing

    def _tell(self, subscription_id: int, cluster: str, reason: str) -> None:
        """Lets `outbox-relay status` say it; the first run that arrives takes it back.

        Not of a subscription that leads to another cluster by now.
        """
        told, interval = self._told.get(subscription_id, ("", None))
        if interval is None or told != cluster:
            interval = Interval(TELL_SECONDS)
            self._told[subscription_id] = cluster, interval
        if interval.begin_if_over():
            with (
                suppress(psycopg.Error),
                connect(self._settings) as connection,
                transaction(connection),
            ):
                note_away(connection, subscription_id, cluster, reason)

    def forget(self, subscription_id: int) -> None:
        """The subscription is gone."""
        self._told.pop(subscription_id, None)
        if self._push is not None:
            self._push[0].forget(subscription_id)

    def stop(self) -> None:
        """No further run to an endpoint begins."""
        if self._push is not None:
            self._push[0].turns.close()
            self._push[0].working.close()

    def close(self, within_seconds: float) -> None:
        """Ends what the sessions shared; after the last of them."""
        if self._push is not None:
            request_loop, connections = self._push
            request_loop.close(within_seconds)
            connections.close(CLOSE_SECONDS)

    def _shared(self) -> tuple[RequestLoop, Pool]:
        with self._lock:
            if self._push is None:
                self._push = (
                    RequestLoop(self._settings, self._telemetry, self._path),
                    pool(self._settings),
                )
            return self._push


def let_go(sink: Sink, connection: Connection) -> None:
    """Ends a session to Kafka from another thread, while its own stands in a call for ever."""
    # What it has queued must not come behind what its successor sends. This, too, may never return.
    closing = threading.Thread(target=sink.close, name="let go", daemon=True)
    closing.start()
    closing.join(PURGE_SECONDS)
    # The connection is the other thread's, and must not be freed under it. The server sees that
    # its client is gone, and lets go of the lock on the cursor.
    with (
        suppress(psycopg.OperationalError, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as ended,
    ):
        ended.shutdown(socket.SHUT_RDWR)
