"""A real OTLP receiver on 127.0.0.1: it takes spans over HTTP, decodes and keeps them.

with SpanReceiver() as receiver:
    …                               # a process with the environment receiver.variables()
    receiver.wait_for("send")       # its spans of this name, once there are so many
"""

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.eventually import eventually


class Context(NamedTuple):
    """What a traceparent names, in hexadecimal digits."""

    trace_id: str
    span_id: str


class Exported(NamedTuple):
    """A span as it came; `kind` and `status` are the protocol's words."""

    service: str
    name: str
    kind: str
    context: Context
    parent: Context | None
    links: list[Context]
    attributes: dict[str, Any]
    events: list[str]
    status: str
    seconds: float


class SpanReceiver:
    """`requests` are the bodies as they came."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.spans: list[Exported] = []
        self.released = threading.Event()
        self.released.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.released.wait(60)
                assert self.path == "/v1/traces"
                receiver.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.1], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def variables(self) -> dict[str, str]:
        """The environment of a process that exports here, ten times a second."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def hang(self) -> None:
        """From now on nothing is answered."""
        self.released.clear()

    def take(self, body: bytes) -> None:
        self.requests.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_exported(service, span) for span in scope.spans]

    def named(self, name: str) -> list[Exported]:
        """Those of this name that came by now."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, number: int = 1) -> list[Exported]:
        """So many of this name, and no more of them."""

        def come() -> list[Exported]:
            found = self.named(name)
            assert len(found) == number, sorted(span.name for span in self.spans)
            return found

        return eventually(come)


def _exported(service: str, span: Span) -> Exported:
    trace_id = span.trace_id.hex()
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    return Exported(
        service,
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        Context(trace_id, span.span_id.hex()),
        Context(trace_id, span.parent_span_id.hex()) if span.parent_span_id else None,
        [Context(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        _values(span.attributes),
        [event.name for event in span.events],
        {0: "UNSET", 1: "OK", 2: "ERROR"}[span.status.code],
        seconds,
    )


def _values(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
