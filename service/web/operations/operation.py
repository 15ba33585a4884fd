"""An operation of the API: a method on a path, its scopes, what goes in and what comes out.

Routes and the OpenAPI document are both made from these, so that neither can say what the other
doesn't.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from service.database.pool import Database
from service.problems import Problem
from service.settings import Settings
from service.web.access.authorization import Authorization, Caller
from service.web.access.keys import Scope
from service.web.bodies import body
from service.web.bodies.decoding import Decoding
from service.web.monitoring.metrics import Metrics
from service.web.operations import query
from service.web.operations.ids import WHOLE_NUMBERS, IdForm
from service.web.operations.query import NoQuery
from service.web.operations.tracing import traceparent

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
    """A request that is allowed and well-formed; `ids` are the path's, by their names there."""

    database: Database
    settings: Settings
    metrics: Metrics
    caller: Caller
    path: str
    decoding: Decoding
    headers: Headers
    ids: Mapping[str, str]
    query: Query
    body: Body
    raw_body: bytes

    @property
    def id(self) -> int:
        """The path's `{id}`, where ids are whole numbers."""
        return int(self.ids["id"])

    def uuid(self, name: str) -> UUID:
        """One of the path's ids, where these are UUIDs."""
        return UUID(self.ids[name])

    @property
    def traceparent(self) -> str | None:
        """The trace that the request belongs to."""
        return traceparent(self.headers.get("traceparent"))


@dataclass(frozen=True)
class Reply:
    """An answer with headers of its own; bytes are JSON already."""

    content: object
    headers: dict[str, str] = field(default_factory=dict)


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

    The rest is for the document: `needs` says more about the scopes, `problems` are the statuses of
    `run` besides those that follow from the above, with the cause of each.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[object]]
    tag: str
    answer: Any
    status: int = 200
    scopes: tuple[Scope, ...] = ()
    ids: IdForm = WHOLE_NUMBERS
    query: type | None = NoQuery
    body: Any = None
    body_required: bool = True
    decoder: Callable[[Any], "msgspec.json.Decoder[Any]"] | None = msgspec.json.Decoder
    look: Callable[[Caller, bytes], None] | None = None
    max_body_bytes: int | None = 65_536
    needs: str = ""
    problems: Mapping[int, str] = field(default_factory=dict)
    request_headers: tuple[RequestHeader, ...] = ()
    answer_headers: tuple[str, ...] = ()

    async def __call__(self, request: Request) -> Response:
        """What comes of the request; it is for its caller alone, and not for any cache."""
        try:
            response = await self._answer(request)
        except Problem as problem:
            problem.headers = {**NO_STORE, **(problem.headers or {})}
            raise
        response.headers.update(NO_STORE)
        return response

    async def _answer(self, request: Request) -> Response:
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
            call: Call[Any, Any] = Call(
                database=request.state.database,
                settings=settings,
                metrics=request.state.metrics,
                caller=caller,
                path=request.url.path,
                decoding=decoding,
                headers=request.headers,
                ids=ids,
                query=parameters,
                body=decoded,
                raw_body=raw,
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
        if not all(map(self.ids.pattern.fullmatch, ids.values())):
            raise Problem(404, f"No such id; ids are {self.ids.plural}.")
        return ids

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
        return Response(encoded, self.status, reply.headers, media_type="application/json")
