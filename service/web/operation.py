"""An operation of the API: a method on a path, who may use it, what goes in and what comes out.

Routes and the OpenAPI document are both made from these, so that neither can say what the other
doesn't.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from psycopg import errors as sqlstates
from starlette.datastructures import Headers
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.database import Database
from service.problems import Problem
from service.settings import Settings
from service.web.authorization import Authorization, Caller
from service.web.body import decode, misfit, read
from service.web.keys import Scope
from service.web.tracing import traceparent

MAX_ID_DIGITS = 18
# Secrets, payloads and endpoints are among the answers.
NO_STORE = {"Cache-Control": "no-store"}

Body = TypeVar("Body")
Query = TypeVar("Query")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of operations that take no parameters."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Body, Query]):
    """A request that is allowed and well-formed. `id` is the path's, 0 where it has none."""

    database: Database
    settings: Settings
    caller: Caller
    path: str
    headers: Headers
    id: int
    query: Query
    body: Body
    raw_body: bytes

    @property
    def traceparent(self) -> str | None:
        """The trace that the request belongs to."""
        return traceparent(self.headers.get("traceparent"))


@dataclass(frozen=True)
class Reply:
    """An answer with headers of its own; bytes are JSON already."""

    content: object
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`run` returns what is to be encoded, or a Reply; `problems` are its own besides 401 to 503.

    `kafka_scope` is asked for instead of `scope` where it is about a subscription of kind kafka;
    which one that is, `run` finds out. `body` and `answer` are types; None: there is none. Where a
    body is not required, an empty one has no fields. `request_headers` is for the document.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[object]]
    scope: Scope
    answer: Any
    kafka_scope: Scope | None = None
    status: int = 200
    body: Any = None
    body_required: bool = True
    query: type = NoQuery
    problems: tuple[int, ...] = ()
    max_body_bytes: int = 65_536
    request_headers: tuple[str, ...] = ()

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
        """Who, then which, then what; the first that does not fit is the answer."""
        database: Database = request.state.database
        authorization: Authorization = request.state.authorization
        scopes = (self.scope,) if self.kafka_scope is None else (self.scope, self.kafka_scope)
        caller = await authorization.caller(request.headers, scopes)
        request.state.caller = caller
        path_id = _path_id(request)
        query: Any = _query(request, self.query)
        raw = await self._raw_body(request)
        call: Call[Any, Any] = Call(
            database=database,
            settings=request.state.settings,
            caller=caller,
            path=request.url.path,
            headers=request.headers,
            id=path_id,
            query=query,
            body=self._body(raw),
            raw_body=raw,
        )
        try:
            return self._response(await self.run(call))
        except sqlstates.CheckViolation as error:
            # The types say the same rules first; this one has the last word.
            rule = (error.diag.constraint_name or error.diag.message_primary or "").replace(
                "_", " "
            )
            raise Problem(422, f"The database refused it: {rule}.") from None
        except (sqlstates.NoDataFound, sqlstates.ForeignKeyViolation):
            if "{id}" not in self.path:
                raise
            # It was there when this request looked for it first.
            raise Problem(404, "It was deleted meanwhile.") from None

    async def _raw_body(self, request: Request) -> bytes:
        has_none = request.headers.get("content-length", "0") == "0" and (
            "transfer-encoding" not in request.headers
        )
        # What is not there has no type.
        if self.body is None or (has_none and not self.body_required):
            return b""
        return await read(request, self.max_body_bytes)

    def _body(self, raw: bytes) -> Any:
        if self.body is None:
            return None
        if not raw and not self.body_required:
            return self.body()
        return decode(_decoder(self.body), raw)

    def _response(self, result: object) -> Response:
        reply = result if isinstance(result, Reply) else Reply(result)
        if self.answer is None:
            return Response(status_code=self.status)
        content = reply.content
        encoded = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return Response(encoded, self.status, reply.headers, media_type="application/json")


def routes(operations: Sequence[Operation]) -> list[Route]:
    """One route a path, so that a method that it does not have is a 405 that names those it has.

    Paths that are written out come before those with an id in the same place.
    """
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _endpoint(by_path[path])) for path in sorted(by_path, key=_has_id)]


def _has_id(path: str) -> bool:
    return "{" in path


def _endpoint(methods: dict[str, Operation]) -> type[HTTPEndpoint]:
    class Endpoint(HTTPEndpoint):
        operations: ClassVar = methods

        async def answer(self, request: Request) -> Response:
            # HEAD is a GET whose body the server leaves out.
            method = "GET" if request.method == "HEAD" else request.method
            return await self.operations[method](request)

    for method in methods:
        setattr(Endpoint, method.lower(), Endpoint.answer)
    return Endpoint


_DECODERS: dict[Any, "msgspec.json.Decoder[Any]"] = {}


def _decoder(shape: Any) -> "msgspec.json.Decoder[Any]":
    if shape not in _DECODERS:
        _DECODERS[shape] = msgspec.json.Decoder(shape)
    return _DECODERS[shape]


def _path_id(request: Request) -> int:
    if (written := request.path_params.get("id")) is None:
        return 0
    if not (written.isascii() and written.isdecimal() and len(written) <= MAX_ID_DIGITS):
        raise Problem(404, "No such id; ids are whole numbers.")
    return int(written)


def _query(request: Request, shape: type[Query]) -> Query:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise Problem(422, f"{name} is given twice.", field=name)
        given[name] = value
    try:
        query = msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(error, shape) from None
    for name in given:
        # msgspec reads the text `null` as None: a filter would be dropped without a word.
        if msgspec.to_builtins(query, builtin_types=(datetime,))[name] is None:
            raise Problem(422, f"{name} can't be null; leave it out.", field=name)
    return query
