"""What a call may raise. A refusal carries the fields of its problem (RFC 9457)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time

import httpx2
import msgspec

from outbox_client.shape import Shape

MEDIA_TYPE = "application/problem+json"


class Fault(Shape, frozen=True, kw_only=True):
    """What of a payload does not fit its event type: `pointer` (RFC 6901) leads there."""

    pointer: str
    keyword: str
    detail: str


class Break(Shape, frozen=True, kw_only=True):
    """What a change of a schema breaks: `pointer` leads there, `version` is the one beside it."""

    version: int
    pointer: str
    rule: str
    harms: str
    detail: str


class ProblemDetails(Shape, frozen=True, kw_only=True):
    """RFC 9457; `field` is the path in the request that is to blame."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    faults: list[Fault] | None = None
    breaks: list[Break] | None = None


class OutboxError(Exception):
    """Whatever goes wrong with a request.

    `request` is its method and path. `request_key` is the Idempotency-Key of a publish: with it the
    same publish may be sent again for 24 hours, and has one effect.
    """

    def __init__(self, request: str, request_key: str | None, detail: str) -> None:
        super().__init__(request, request_key, detail)
        self.request = request
        self.request_key = request_key
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.request}: {self.detail}"


class Unanswered(OutboxError):
    """No answer came. Unless nothing was `sent`, the request may have been done, or not."""

    def __init__(self, request: str, request_key: str | None, detail: str, sent: bool) -> None:
        super().__init__(request, request_key, detail)
        self.args = (request, request_key, detail, sent)
        self.sent = sent


class Unreadable(OutboxError):
    """The request was done, and the answer is none of this API."""


class Problem(OutboxError):
    """An answer other than 2xx; `retry_after_seconds` is None where it does not say."""

    def __init__(
        self,
        request: str,
        request_key: str | None,
        details: ProblemDetails,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(request, request_key, details.detail)
        self.args = (request, request_key, details, retry_after_seconds)
        self.type = details.type
        self.title = details.title
        self.status = details.status
        self.field = details.field
        self.faults = details.faults or []
        self.breaks = details.breaks or []
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.request}: {self.status} {self.title}. {self.detail}".rstrip()


class Unauthorized(Problem):
    """401: the API key is unknown, revoked or expired."""


class Forbidden(Problem):
    """403: the API key lacks the scope, or is limited to other channels."""


class NotFound(Problem):
    """404: there is none, or none for this key."""


class Conflict(Problem):
    """409: as things are, it can't be done; `detail` says what is in the way."""


class Unprocessable(Problem):
    """422: it does not fit; `field` says what, and `faults` of a payload say where."""


class Unavailable(Problem):
    """503: it was tried again until the time for that was over."""


_BY_STATUS: Mapping[int, type[Problem]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Unprocessable,
    503: Unavailable,
}


def problem(
    request: str, request_key: str | None, response: httpx2.Response, content: bytes
) -> Problem:
    """The exception that stands for an answer other than 2xx, from the service or a proxy."""
    kind = _BY_STATUS.get(response.status_code, Problem)
    return kind(request, request_key, _details(response, content), _retry_after_seconds(response))


def _details(response: httpx2.Response, content: bytes) -> ProblemDetails:
    if response.headers.get("content-type", "").startswith(MEDIA_TYPE):
        try:
            details = msgspec.json.decode(content, type=ProblemDetails)
            return msgspec.structs.replace(details, status=response.status_code)
        except (ValueError, RecursionError):
            pass
    try:
        title = HTTPStatus(response.status_code).phrase
    except ValueError:
        title = "Unknown status"
    detail = "The answer is not the service's; something before it may have refused the request."
    return ProblemDetails(
        type="about:blank", title=title, status=response.status_code, detail=detail
    )


def _retry_after_seconds(response: httpx2.Response) -> float | None:
    """Seconds, or a date (RFC 9110, section 10.2.3); None where it is neither."""
    written = response.headers.get("retry-after", "").strip()
    if written.isascii() and written.isdigit():
        return float(written)
    try:
        return max(0.0, parsedate_to_datetime(written).timestamp() - time())
    except (ValueError, OverflowError):
        return None
