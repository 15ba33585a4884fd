"""An operation of the API: a method on a path, its scopes, what goes in and what comes out.

Routes and the OpenAPI document are both made from these, so that neither can say what the other
doesn't.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import structlog
from psycopg import DatabaseError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from service.checking.checker import Checker
from service.computing import Computing
from service.database.pool import UNFIT, Database
from service.problems import Problem, unavailable
from service.settings import Settings
from service.web.access.authorization import Authorization, Caller
from service.web.access.keys import Scope
from service.web.bodies import body
from service.web.bodies.decoding import Decoding
from service.web.monitoring.metrics import Metrics
from service.web.operations import query
from service.web.operations.ids import WHOLE_NUMBERS, IdForm
from service.web.operations.query import NoQuery
from service.web.operations.trace_context import traceparent

if TYPE_CHECKING:
    from service.spans import RequestSpan, Spans

log = structlog.get_logger()

# Secrets, payloads and endpoints are among the answers.
NO_STORE = {"Cache-Control": "no-store"}
# A body that took longer has been waited for with a key that is looked up again.
LONG_BODY_SECONDS = 1.0
# The caller of a public operation: there is nothing that it may do with a channel.
NO_KEY = Caller(id=0, name="no key", scopes=[], channels=[])

Body = TypeVar("Body")
Query = TypeVar("Query")


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Body, Query]):
    """A request that is allowed and well-formed; `ids` are the path's, by their names there.

    `span` is its own, where it has one. `by_console`: a page asks, and not a caller of the API.
    """

    database: Database
    settings: Settings
    metrics: Metrics
    caller: Caller
    path: str
    decoding: Decoding
    checker: Checker
    computing: Computing
    headers: Headers
    ids: Mapping[str, str]
    query: Query
    body: Body
    raw_body: bytes
    span: "RequestSpan | None" = None
    by_console: bool = False

    @classmethod
    def of(cls, request: Request, **asked: Any) -> "Call[Body, Query]":
        """What this request asks for, of the service that it came to."""
        state = request.state
        return cls(
            database=state.database,
            settings=state.settings,
            metrics=state.metrics,
            path=request.url.path,
            decoding=state.decoding,
            checker=state.checker,
            computing=state.computing,
            headers=request.headers,
            **asked,
        )

    @property
    def id(self) -> int:
        """The path's `{id}`, where ids are whole numbers."""
        return int(self.ids["id"])

    def number(self, name: str) -> int:
        """One of the path's ids, where these are whole numbers."""
        return int(self.ids[name])

    def uuid(self, name: str) -> UUID:
        """One of the path's ids, where these are UUIDs."""
        return UUID(self.ids[name])

    @property
    def traceparent(self) -> str | None:
        """The trace that the request belongs to: what it brought, or else what it began here."""
        given = traceparent(self.headers.get("traceparent"))
        return self.span.traceparent if given is None and self.span is not None else given


@dataclass(frozen=True)
class Reply:
    """An answer with headers or a status of its own; bytes are JSON already."""

    content: object
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


class RequestHeader(NamedTuple):
    """A header that `run` reads, for the document; `schema` is JSON Schema."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`run` returns what is to be encoded as JSON, or a Reply.

    - `scopes`: the key must have one of them; without any the operation is public.
    - `body`, `answer`: types, None where there is none. `body` may be a union of structs. Where a
      body is not required, an empty one has no fields.
    - `decoder` makes the body's decoder from its type; where it is None, `run` decodes `raw_body`.
    - `look`: a look at the body that costs little before it is decoded; raises Problem.
    - `query`: a struct; None: whatever stands behind the question mark is ignored.
    - `max_body_bytes`: None: SERVICE_MAX_BODY_BYTES.

    - `ids`: how those of the path are written, all of them or each by its name.

    The rest is for the document: `creates`, that `run` may answer 201 besides; `needs` says more
    about the scopes; `problems` are the statuses of `run` besides those that follow from the above,
    with the cause of each.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[object]]
    tag: str
    answer: Any
    status: int = 200
    scopes: tuple[Scope, ...] = ()
    ids: IdForm | Mapping[str, IdForm] = WHOLE_NUMBERS
    query: type | None = NoQuery
    body: Any = None
    body_required: bool = True
    decoder: Callable[[Any], "msgspec.json.Decoder[Any]"] | None = msgspec.json.Decoder
    look: Callable[[Caller, bytes], None] | None = None
    max_body_bytes: int | None = 65_536
    creates: bool = False
    needs: str = ""
    problems: Mapping[int, str] = field(default_factory=dict)
    request_headers: tuple[RequestHeader, ...] = ()
    answer_headers: tuple[str, ...] = ()

    async def __call__(self, request: Request) -> Response:
        """What comes of the request; where it may change something, with a span of its own."""
        spans: Spans | None = request.state.spans
        if spans is None or self.method == "GET":
            return await self._respond(request, None)
        url, status = request.url, 500
        trace = traceparent(request.headers.get("traceparent"))
        with spans.request(self.method, self.path, url.scheme, url.path, trace) as span:
            try:
                response = await self._respond(request, span)
                status = response.status_code
            except Problem as problem:
                status = problem.status
                raise
            finally:
                span.end(status)
        return response

    async def _respond(self, request: Request, span: "RequestSpan | None") -> Response:
        """The answer is for its caller alone, and not for any cache."""
        try:
            response = await self._answer_or_refuse(request, span)
        except Problem as problem:
            problem.headers = {**NO_STORE, **(problem.headers or {})}
            raise
        response.headers.update(NO_STORE)
        return response

    async def _answer_or_refuse(self, request: Request, span: "RequestSpan | None") -> Response:
        """Raises Problem 503 where what the service itself publishes does not fit its event type.

        It is not the caller's to mend: all of it is undone, and goes well once the type allows it.
        """
        try:
            return await self._answer(request, span)
        except DatabaseError as error:
            if error.sqlstate != UNFIT:
                raise
            type_ = error.diag.datatype_name or ""
            detail = error.diag.message_detail
            log.error("message does not fit its event type", type=type_, detail=detail)
            metrics: Metrics = request.state.metrics
            metrics.unfit(type_)
            raise unavailable(
                f"What has to be published as {type_} does not fit its event type; send the "
                "request again when it does."
            ) from error

    async def _answer(self, request: Request, span: "RequestSpan | None") -> Response:
        """Looks at key, ids, query and body in this order; the first that does not fit decides."""
        settings: Settings = request.state.settings
        caller = await self._caller(request)
        ids = self._ids(request)
        parameters: Any = self.query and query.read(request, self.query)
        begun_at = time.monotonic()
        raw = await self._raw_body(request, settings)
        if time.monotonic() - begun_at > LONG_BODY_SECONDS:
            # Its sender may take its time, and the key may have been revoked meanwhile.
            caller = await self._caller(request)
        decoding: Decoding = request.state.decoding
        undecoded = b"" if self._decoder is None else raw
        async with decoding.begin(undecoded, partial(self._body, caller)) as decoded:
            call: Call[Any, Any] = Call.of(
                request,
                caller=caller,
                ids=ids,
                query=parameters,
                body=decoded,
                raw_body=raw,
                span=span,
            )
            return self._response(await self.run(call))

    async def _caller(self, request: Request) -> Caller:
        if not self.scopes:
            return NO_KEY
        authorization: Authorization = request.state.authorization
        caller = await authorization.caller(request.headers, self.scopes)
        request.state.caller = caller
        return caller

    def _ids(self, request: Request) -> Mapping[str, str]:
        ids: Mapping[str, str] = request.path_params
        for name, written in ids.items():
            if not self.form(name).pattern.fullmatch(written):
                raise Problem(404, f"No such id; ids are {self.form(name).plural}.")
        return ids

    def form(self, name: str) -> IdForm:
        """How one of the path's ids is written."""
        return self.ids if isinstance(self.ids, IdForm) else self.ids[name]

    async def _raw_body(self, request: Request, settings: Settings) -> bytes:
        has_none = request.headers.get("content-length", "0") == "0" and (
            "transfer-encoding" not in request.headers
        )
        # What is not there has no type.
        if self.body is None or (has_none and not self.body_required):
            return b""
        return await body.read(request, self.max_body_bytes or settings.max_body_bytes)

    def _body(self, caller: Caller, raw: bytes) -> Any:
        if self.body is None or self._decoder is None:
            return None
        if not raw and not self.body_required:
            return self.body()
        if self.look is not None:
            self.look(caller, raw)
        return body.decode(self._decoder, raw)

    @cached_property
    def _decoder(self) -> "msgspec.json.Decoder[Any] | None":
        return None if self.decoder is None else self.decoder(self.body)

    def _response(self, result: object) -> Response:
        reply = result if isinstance(result, Reply) else Reply(result)
        if self.answer is None:
            return Response(status_code=self.status)
        content = reply.content
        encoded = content if isinstance(content, bytes) else msgspec.json.encode(content)
        status = reply.status or self.status
        return Response(encoded, status, reply.headers, media_type="application/json")
