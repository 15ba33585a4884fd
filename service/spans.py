"""Spans of requests and of what they publish. Only tracing.py imports it: it needs the extra otel.

Names are those of the semantic conventions 1.44:
https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/http/http-spans.md
https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md
No attribute holds a body, a header or a query, and no exception is recorded: its words may be such.
"""

import logging
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

NAME = "outbox-service"
DISTRIBUTION = "outbox-relay"
# A caller chooses what stands in the place of an id.
MAX_PATH_CHARACTERS = 300
HEADERS_LOGGER = "opentelemetry.util.re"
# At a stop, what is left has so long to leave.
CLOSE_SECONDS = 1.0
# How often it is told that spans can't be exported.
TELL_SECONDS = 60.0

log = structlog.get_logger()


class RequestSpan:
    """A request while it lasts. What comes of it does not depend on its span: nothing here raises.

    `traceparent` names the span; None where there is none.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        of = span.get_span_context()
        self.traceparent: str | None = None
        if of.is_valid:
            self.traceparent = f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"

    def end(self, status: int) -> None:
        """It was answered. Without a valid key there is no span: anybody could make any number."""
        if status == 401:
            return
        with suppress(Exception):
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._span.set_attribute("error.type", str(status))
                self._span.set_status(StatusCode.ERROR)
            self._span.end()


class Spans:
    """Makes spans; a thread of its own exports them.

    Of those that it can't get rid of only the latest are kept: nobody waits for it.
    """

    def __init__(self) -> None:
        """Raises what the SDK raises where a variable of its own does not fit."""
        _tell_faults()
        name = OTELResourceDetector().detect().attributes.get(SERVICE_NAME, NAME)
        # What is registered to happen at the exit would wait for the exporter there.
        self._provider = TracerProvider(
            resource=Resource.create().merge(Resource({SERVICE_NAME: name})),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(NAME, version(DISTRIBUTION))

    @contextmanager
    def request(
        self, method: str, route: str, scheme: str, path: str, traceparent: str | None
    ) -> Generator[RequestSpan]:
        """A request that belongs to this trace, or begins one. It is to be ended."""
        span: Span = INVALID_SPAN
        with suppress(Exception):
            span = self._tracer.start_span(
                f"{method} {route}",
                context=_context(traceparent),
                kind=SpanKind.SERVER,
                attributes={
                    "http.request.method": method,
                    "http.route": route,
                    "url.scheme": scheme,
                    "url.path": path[:MAX_PATH_CHARACTERS],
                },
            )
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield RequestSpan(span)

    @contextmanager
    def publish(self, channels: Iterable[str]) -> Generator[None]:
        """A statement that publishes to these, a message each, for the request under way."""
        span: Span = INVALID_SPAN
        with suppress(Exception):
            if get_current_span().is_recording():
                span = self._start_publish(list(channels))
        try:
            yield
        except BaseException as fault:
            with suppress(Exception):
                span.set_attribute("error.type", type(fault).__name__)
                span.set_status(StatusCode.ERROR)
            raise
        finally:
            with suppress(Exception):
                span.end()

    def _start_publish(self, channels: Sequence[str]) -> Span:
        attributes: dict[str, str | int] = {
            "messaging.system": "outbox",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
        }
        name, (channel, *others) = "publish", sorted(set(channels))
        if not others:
            name = f"publish {channel}"
            attributes["messaging.destination.name"] = channel
        if len(channels) > 1:
            attributes["messaging.batch.message_count"] = len(channels)
        # The message has the request's context, and not this one's: a client's span then.
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def close(self) -> None:
        """Exports what is left, as far as that goes in a second."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class _Faults(logging.Handler):
    """What the exporter's thread says, as the service says things, once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._tells_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._tells_at:
            self._tells_at = time.monotonic() + TELL_SECONDS
            log.warning("spans lost", fault=_words(record))


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


def _context(traceparent: str | None) -> Context:
    """Of a well-formed traceparent, see trace_context.py."""
    if traceparent is None:
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
