"""/console/dead-letters/{id}: one message that was given up: what it holds and what was tried."""

import asyncio
from datetime import UTC, datetime

from msgspec import Raw
from starlette.responses import Response
from starlette.routing import Route

from service.console.pages.payload import Payload, written
from service.console.visit import Visit, shown
from service.platform.dead_letters import dead_letters
from service.platform.dead_letters.dead_letters import WholeDeadLetter
from service.platform.deliveries import attempts
from service.platform.deliveries.attempts import AttemptQuery
from service.platform.subscriptions import view

MAX_ATTEMPTS = 100


@shown
async def show_dead_letter(visit: Visit) -> Response:
    """The page."""
    one = await visit.ask(dead_letters.read_dead_letter, id=visit.request.path_params["id"])
    tried = AttemptQuery(
        limit=MAX_ATTEMPTS, subscription_id=one.subscription_id, message_id=one.message_id
    )
    subscription = await visit.ask(view.read_subscription, id=one.subscription_id)
    return visit.page(
        "pages/dead_letter.html",
        now=datetime.now(UTC),
        one=one,
        subscription=subscription,
        payload=await _payload(one),
        attempts=await visit.ask(attempts.list_attempts, query=tried),
        may_redrive=visit.may("manage" if subscription.kind == "http" else "operate"),
    )


async def _payload(one: WholeDeadLetter) -> Payload | None:
    """In another thread: a megabyte takes a while. None where it is withheld."""
    if isinstance(one.payload_base64, bytes):
        return await asyncio.to_thread(written, one.payload_base64)
    if isinstance(one.payload, Raw):
        return await asyncio.to_thread(written, bytes(one.payload))
    return None


ROUTES = (Route("/console/dead-letters/{id}", show_dead_letter, methods=["GET"]),)
