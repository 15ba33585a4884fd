"""GET /openapi.json: the description of what this service serves."""

import functools
import hashlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.payments import api as payments_api
from service.payments.served import Payments
from service.platform import api as platform_api
from service.problems import Problem
from service.web.operations import document as openapi

PLATFORM_TITLE = "Event platform"
WHOLE_TITLE = "Event platform and payment webhooks"


def document(*, payments: bool) -> dict[str, Any]:
    """The whole description, ready to be encoded; with the paths of payments or without."""
    title = WHOLE_TITLE if payments else PLATFORM_TITLE
    operations = (*(payments_api.OPERATIONS if payments else ()), *platform_api.OPERATIONS)
    return openapi.document(title, operations, platform_api.KEY_DESCRIPTION)


@functools.cache
def encoded(*, payments: bool) -> tuple[bytes, str]:
    """The document as it is sent, and its ETag; made once, since any client may ask for it."""
    # Python's end of a text; in ECMAScript, which JSON Schema's patterns are, `$` is just that.
    content = msgspec.json.encode(document(payments=payments)).replace(rb"\\Z", b"$")
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


async def show_document(request: Request) -> Response:
    """GET /openapi.json; 304 to a client that has it already (If-None-Match)."""
    payments: Payments = request.state.payments
    try:
        served = await payments.are_served()
    except Problem:
        # Until the database can say that there are none.
        served = True
    content, etag = encoded(payments=served)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")
