"""Metrics and health over HTTP: /metrics, /healthz, /readyz."""

import errno
import socket
import threading
import time
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter
from prometheus_client.exposition import choose_encoder

from relay import migrations
from relay.database import EncodingError, ReadOnlyError, connect, transaction
from relay.log.cluster import foreign_cluster
from relay.monitoring.gauges import DatabaseCollector
from relay.monitoring.http_server import OPEN_METRICS, Answer, HttpServer, Request
from relay.monitoring.status import TIMEOUT
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings, SettingsError

logger = structlog.get_logger()

# Longer without a turn, and the loop hangs. It turns while it waits for the database, too.
MAX_LOOP_AGE_SECONDS = 10.0
# However often a client asks, the database is asked once in so long.
SAMPLE_SECONDS = 5.0
# And all metrics are written once in so long.
TEXT_SECONDS = 1.0


class Readiness:
    """Whether this relay can run on its database: reachable, migrated, not another cluster's."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._sampled_at = float("-inf")
        self._fault: str | None = None

    def fault(self) -> str | None:
        """Why it can't run, as a sentence; None: it can."""
        if self._telemetry.refusal is not None:
            return self._telemetry.refusal
        with self._lock:
            if time.monotonic() - self._sampled_at > SAMPLE_SECONDS:
                self._fault = self._sample()
                self._sampled_at = time.monotonic()
            return self._fault

    def _sample(self) -> str | None:
        try:
            with connect(self._settings) as connection, transaction(connection):
                connection.execute(TIMEOUT)
                migrations.check(connection)
                return foreign_cluster(connection)
        except migrations.MigrationError as fault:
            return str(fault)
        except (EncodingError, ReadOnlyError) as fault:
            return str(fault)
        except psycopg.Error as fault:
            logger.warning("health_without_database", fault=str(fault))
            return f"no database at {self._settings.database}"


class StatusServer:
    """Answers /metrics, /healthz and /readyz in threads of its own until it is closed.

    Raises OSError where it can't listen.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, **bounds: Any) -> None:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port or 0), family=family)
        self.port = int(listener.getsockname()[1])
        self._telemetry = telemetry
        # By whether it is the other form, with the time of time.monotonic() at which it was made.
        self._metrics: dict[bool, tuple[float, Answer]] = {}
        self._readiness = Readiness(settings, telemetry)
        telemetry.registry.register(DatabaseCollector(settings))
        ended = Counter(
            "outbox_relay_status_connections_ended_total",
            "Connections to this page and its neighbours that were ended, by reason.",
            ("reason",),
            registry=telemetry.registry,
        )
        self._server = HttpServer(
            listener,
            self._at_once,
            self._answer,
            lambda reason: ended.labels(reason).inc(),
            **bounds,
        )

    def close(self) -> None:
        """Stops answering and lets go of the port."""
        self._server.close()

    def _at_once(self, request: Request) -> Answer | None:
        """Whether the relay lives is said whatever its database does, and however many ask."""
        if request.path == "/healthz":
            age = self._telemetry.loop_age_seconds()
            abandoned = self._telemetry.abandoned_threads
            told = f"the loop turned {age:.1f} s ago"
            if abandoned:
                told += f"; {abandoned} threads stand in calls that do not return"
            return _text(200 if age <= MAX_LOOP_AGE_SECONDS and not abandoned else 503, told)
        if request.path in ("/metrics", "/readyz"):
            return None
        return _text(404, "there are /metrics, /healthz and /readyz")

    def _answer(self, request: Request) -> Answer:
        if request.path == "/metrics":
            return self._text_of_metrics(open_metrics=request.open_metrics)
        fault = self._readiness.fault()
        return _text(200 if fault is None else 503, fault or "ready")

    def _text_of_metrics(self, *, open_metrics: bool) -> Answer:
        made_at, answer = self._metrics.get(open_metrics, (float("-inf"), None))
        if answer is None or time.monotonic() - made_at >= TEXT_SECONDS:
            encode, content_type = choose_encoder(OPEN_METRICS if open_metrics else "")
            answer = Answer(200, content_type, encode(self._telemetry.registry))
            self._metrics[open_metrics] = (time.monotonic(), answer)
        return answer


def start(settings: Settings, telemetry: Telemetry) -> StatusServer | None:
    """The server on RELAY_HOST and RELAY_PORT; None where no port is set or another has taken it.

    Raises SettingsError for an address that is not this machine's.
    """
    if settings.port is None:
        return None
    where = f"{settings.host}:{settings.port}"
    try:
        server = StatusServer(settings, telemetry)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise SettingsError(
                [f"RELAY_HOST and RELAY_PORT: can't listen on {where}: {fault.strerror}"]
            ) from fault
        # Metrics are no reason to leave messages lying.
        logger.warning("status_port_taken", address=where)
        return None
    logger.info("status_server_listens", address=where)
    return server


def _text(status: int, line: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{line}\n".encode())
