"""/console/messages: where a message is, found by its id or its idempotency key."""

import re
from datetime import UTC, datetime

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.console.page import NO_STORE
from service.console.visit import Visit, shown
from service.platform import trace
from service.platform.fields import ChannelId
from service.platform.messages import finding
from service.platform.messages.finding import Found, MessageQuery

ADDRESS = "/console/messages"
_ID = re.compile(r"[0-9]{1,18}")
# What may be an idempotency key; what may not is none's.
_KEY = re.compile(r"[!-~]{1,128}")


class Asked(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`key` is an id, or an idempotency key; with a channel the latter also where it is digits."""

    key: str = ""
    channel_id: ChannelId | None = None


@shown
async def show_search(visit: Visit) -> Response:
    """The fields to search by; where one message is found, its page at once."""
    asked = visit.query(Asked)
    key = asked.key.strip()
    if _ID.fullmatch(key) and asked.channel_id is None:
        return _to(key)
    found: Found | None = None
    if _KEY.fullmatch(key):
        query = MessageQuery(idempotency_key=key, channel_id=asked.channel_id)
        found = await visit.ask(finding.find_messages, query=query)
        if len(found.message_ids) == 1:
            return _to(found.message_ids[0])
    elif key:
        found = Found(message_ids=[], looked_from=None, more=False)
    return visit.page("pages/messages.html", asked=asked, key=key, found=found)


def _to(message_id: str) -> Response:
    return RedirectResponse(f"{ADDRESS}/{message_id}", 303, headers=NO_STORE)


@shown
async def show_message(visit: Visit) -> Response:
    """The trace: what became of it at each subscription, and how that is known."""
    traced = await visit.ask(trace.read_trace, id=visit.request.path_params["id"])
    return visit.page("pages/message.html", traced=traced, now=datetime.now(UTC))


ROUTES = (
    Route(ADDRESS, show_search, methods=["GET"]),
    Route(f"{ADDRESS}/{{id}}", show_message, methods=["GET"]),
)
