"""Spans of runs and of requests to endpoints. Only tracing.py imports it: it needs the extra otel.

A message's own traceparent stays what its writer put there. It is a run's link and a request's
parent, and only where it says that it is sampled: of other messages there are no spans. Names are
those of the semantic conventions 1.44, as far as there are any:
https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md
https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/http/http-spans.md
No attribute holds a payload, a header, a secret, or a path, which may be one.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from operator import itemgetter

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
)
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from relay.log.message import CREATED_AT, HEADERS, POSTGRES_EPOCH_SECONDS, Row
from relay.process.interval import Interval

NAME = "outbox-relay"
# As many as a span keeps unless OTEL_SPAN_LINK_COUNT_LIMIT says otherwise.
MAX_LINKS = 128
# What waits to be exported, unless OTEL_BSP_MAX_QUEUE_SIZE and OTEL_BSP_MAX_EXPORT_BATCH_SIZE say
# otherwise. A run's span with all its links holds 77 KB: the SDK's own 2048 would hold 160 MB.
QUEUE_SPANS = 512
BATCH_SPANS = 128
# At a stop, what is left has so long to leave.
CLOSE_SECONDS = 1.0
HEADERS_LOGGER = "opentelemetry.util.re"
# How often it is told that spans can't be exported.
TELL_SECONDS = 60.0
# By the kind of a subscription; an endpoint is no messaging system of its own.
SYSTEMS = {"sqs": "aws_sqs", "pubsub": "gcp_pubsub"}

# One that says sampled, in the headers' JSON; in none of its texts, where quotation marks are
# escaped. Of the last digit the lowest bit is the flag. A pattern that begins with so many plain
# characters is found soon, and soon not found: that is looked for in each message.
_SAMPLED = re.compile(
    rb'"traceparent"\s*:\s*"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})'
    rb'-([0-9a-f][13579bdf])"',
)

# Of each message that is read: a call of its own would cost as much as the rest.
HEADERS_OF, CREATED_AT_OF = itemgetter(HEADERS), itemgetter(CREATED_AT)

logger = structlog.get_logger()


def sampled(headers: bytes | None) -> SpanContext | None:
    """The context that a message's writer gave it; None where there is none or it is not sampled.

    `headers` as in Row.
    """
    found = None if headers is None else _SAMPLED.search(headers)
    if found is None:
        return None
    flags = TraceFlags(int(found[3], 16))
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)


class RunSpan:
    """A run while it lasts: what it has read, and at the end its span.

    What becomes of its messages does not depend on what is noted here: nothing of it raises.
    """

    def __init__(self, kind: str, subscriptions: Sequence[str]) -> None:
        """Of subscriptions of one kind."""
        self._kind = kind
        self._subscriptions = sorted(set(subscriptions))
        self._begun_at = time.time_ns()
        self._links: list[Link] = []
        self._sent = 0
        # The longest from the writing of a message to its reading, but for what is between the two
        # clocks: time.monotonic() and the database's.
        self._delay: float | None = None
        self._clock: float | None = None
        self._fault: str | None = None

    def see(self, rows: Sequence[Row]) -> None:
        """The log's next, read now."""
        self.link(rows)
        with suppress(Exception):
            written_at = min(map(CREATED_AT_OF, rows))
            delay = time.monotonic() - written_at / 1_000_000
            self._delay = delay if self._delay is None else max(self._delay, delay)

    def link(self, rows: Iterable[Row]) -> None:
        """These go, whenever they were read first."""
        with suppress(Exception):
            for headers in map(HEADERS_OF, rows):
                if len(self._links) >= MAX_LINKS:
                    return
                if headers is not None and (context := sampled(headers)) is not None:
                    self._links.append(Link(context))

    def send(self, messages: int) -> None:
        """So many more were sent, one that went to several as often."""
        self._sent += messages

    def set_clock(self, clock: float) -> None:
        """`clock` plus time.monotonic() is the database's, in seconds since 1970."""
        self._clock = clock

    def acknowledged(self, at: int) -> None:
        """It is `at` by the database's clock, as Row counts."""
        self.set_clock(at / 1_000_000 + POSTGRES_EPOCH_SECONDS - time.monotonic())

    def fail(self, fault: BaseException) -> None:
        """It was given up."""
        self._fault = type(fault).__name__

    def end(self, tracer: Tracer) -> None:
        """Without a sampled message there is no span, nor where nothing could go: that is looked
        at again and again.
        """
        # Whoever ran it may keep this until the next run, which may be hours away.
        links, self._links = self._links, []
        if not links or (not self._sent and self._fault is None):
            return
        attributes: dict[str, str | int | float | Sequence[str]] = {
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.batch.message_count": self._sent,
            "outbox.subscriptions": self._subscriptions,
        }
        if (system := SYSTEMS.get(self._kind, self._kind)) != "http":
            attributes["messaging.system"] = system
        if self._delay is not None and self._clock is not None:
            delay = self._delay + self._clock - POSTGRES_EPOCH_SECONDS
            attributes["outbox.read_delay_seconds"] = max(delay, 0.0)
        span = tracer.start_span(
            "send",
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=links,
            start_time=self._begun_at,
        )
        if self._fault is not None:
            span.set_attribute("error.type", self._fault)
            span.set_status(StatusCode.ERROR)
        span.end()


class Spans:
    """Makes spans, from any thread; a thread of its own exports them.

    Of those that it can't get rid of only the latest are kept: nobody waits for it.
    """

    def __init__(self, relay: str) -> None:
        """Raises what the SDK raises where a variable of its own does not fit."""
        _tell_faults()
        name = OTELResourceDetector().detect().attributes.get(SERVICE_NAME, NAME)
        own = Resource({SERVICE_NAME: name, "outbox.relay": relay})
        # What is registered to happen at the exit would wait for the exporter there.
        self._provider = TracerProvider(
            resource=Resource.create().merge(own), shutdown_on_exit=False
        )
        queue = BatchSpanProcessor(
            OTLPSpanExporter(),
            max_queue_size=_unless_set(OTEL_BSP_MAX_QUEUE_SIZE, QUEUE_SPANS),
            max_export_batch_size=_unless_set(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, BATCH_SPANS),
        )
        self._provider.add_span_processor(queue)
        self._tracer = self._provider.get_tracer(NAME, version(NAME))

    @contextmanager
    def run(self, kind: str, subscriptions: Sequence[str]) -> Generator[RunSpan]:
        """A run, from its beginning to its end."""
        span = RunSpan(kind, subscriptions)
        try:
            yield span
        except BaseException as fault:
            span.fail(fault)
            raise
        finally:
            # What was delivered is, whatever becomes of its span.
            with suppress(Exception):
                span.end(self._tracer)

    def attempt(
        self,
        headers: bytes | None,
        *,
        subscription: str,
        message_id: int,
        server: tuple[str, str, int],
        attempts: int,
        sent_at: float,
        seconds: float,
        status: int | None,
        error: str | None,
    ) -> None:
        """A request that has ended, of a message with these `headers`, as in Row.

        It was made at `sent_at` of time.monotonic(), after `attempts` earlier ones, and took so
        many `seconds`. `server` is scheme, host and port; for `status` and `error` see Answer.
        """
        parent = sampled(headers)
        if parent is None:
            return
        scheme, host, port = server
        place = f"[{host}]" if ":" in host else host
        attributes: dict[str, str | int] = {
            "http.request.method": "POST",
            "server.address": host,
            "server.port": port,
            "url.full": f"{scheme}://{place}:{port}/REDACTED",
            "outbox.subscription": subscription,
            "outbox.message.id": message_id,
        }
        if attempts:
            attributes["http.request.resend_count"] = attempts
        if status is not None:
            attributes["http.response.status_code"] = status
        if error is not None:
            attributes["error.type"] = str(status) if status and status >= 400 else error
        begun_at = time.time_ns() - int((time.monotonic() - sent_at) * 1e9)
        span = self._tracer.start_span(
            "POST",
            context=set_span_in_context(NonRecordingSpan(parent), Context()),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=begun_at,
        )
        if error is not None:
            span.set_status(StatusCode.ERROR)
        span.end(begun_at + int(seconds * 1e9))

    def close(self) -> None:
        """Exports what is left, as far as that goes in a second."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def _unless_set(variable: str, number: int) -> int | None:
    """None where the SDK is to read the variable."""
    return None if os.environ.get(variable) else number


class _Faults(logging.Handler):
    """What the exporter's thread says, as the relay says things, once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._telling = Interval(TELL_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        if self._telling.begin_if_over():
            logger.warning("spans_lost", fault=_words(record))


def _words(record: logging.LogRecord) -> str:
    """Of an exception its first cause's name alone: among its words may be a header's value, or the
    collector's URL with a key in it. What does not fit among OTEL_EXPORTER_OTLP_HEADERS would be
    told as it is.
    """
    given = record.args if isinstance(record.args, tuple) else ()
    if record.name == HEADERS_LOGGER or not given:
        return str(record.msg)
    return str(record.msg) % tuple(
        _first_cause(one) if isinstance(one, BaseException) else one for one in given
    )


def _first_cause(fault: BaseException) -> str:
    while (cause := fault.__cause__ or fault.__context__) is not None:
        fault = cause
    return type(fault).__name__


def _tell_faults() -> None:
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers = [_Faults()]
    sdk.propagate = False
