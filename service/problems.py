"""Problem details (RFC 9457): the form of every refusal of this service."""

from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

RETRY_AFTER_SECONDS = 5
# What an answer repeats of its request, however long that is.
MAX_FIELD_LENGTH = 500
MAX_DETAIL_LENGTH = 2000


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What does not fit an event type: `pointer` (RFC 6901) leads there in the request's body."""

    pointer: str
    keyword: str
    detail: str


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """What a change breaks: `pointer` leads there in the schema, `version` is the one beside it."""

    version: int
    pointer: str
    rule: str
    harms: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457; `field` is the path that is to blame.

    `faults` of a payload, at most 20, and `breaks` of a schema's change say what is wrong one by
    one.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    faults: list[Fault] | None = None
    breaks: list[Break] | None = None


class Problem(Exception):
    """An answer other than 2xx.

    `field` is the path in the request that is to blame (`payload.transaction.total`);
    `extensions` are further members of the problem's object. What is too long is cut.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
        **extensions: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = shortened(detail, MAX_DETAIL_LENGTH)
        self.field = None if field is None else shortened(field, MAX_FIELD_LENGTH)
        self.headers = headers
        self.extensions = extensions

    def response(self) -> Response:
        """The answer, as application/problem+json."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.extensions,
        }
        if self.field is not None:
            body["field"] = self.field
        return Response(
            msgspec.json.encode(body),
            status_code=self.status,
            media_type="application/problem+json",
            headers=self.headers,
        )


def shortened(text: str, max_length: int) -> str:
    """As much of it as that, with a mark where something is left out."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request, or a WebSocket that asks to be taken, from a middleware."""
    if scope["type"] == "http":
        await problem.response()(scope, receive, send)
    else:
        await WebSocket(scope, receive, send).send_denial_response(problem.response())


def unavailable(detail: str) -> Problem:
    """503: nothing is wrong with the request, and it should be sent again."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def on_problem(_: HTTPConnection, error: Exception) -> Response:
    """Starlette's handler for Problem."""
    assert isinstance(error, Problem)
    return error.response()


async def on_http_exception(_: HTTPConnection, error: Exception) -> Response:
    """Starlette's handler for what its own router raises: 404, 405."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return Problem(error.status_code, error.detail, headers=headers).response()


async def on_fault(_: HTTPConnection, __: Exception) -> Response:
    """Starlette's handler for any other exception; the cause goes to the log, not to the caller."""
    headers = {"Cache-Control": "no-store"}
    return Problem(500, "The request met a fault that is not its own.", headers=headers).response()
