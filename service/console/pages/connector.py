"""/console/connectors/{id}: one connector that takes messages in, and its pause.

Those that send messages out are subscriptions, and shown as such.
"""

from datetime import UTC, datetime

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.console.form import Form
from service.console.page import NO_STORE
from service.console.pages import subscription
from service.console.pages.settings import told
from service.console.visit import Visit, changes, shown
from service.platform.connectors import steps, view

ADDRESS = subscription.CONNECTOR


@shown
async def show_connector(visit: Visit) -> Response:
    """The page."""
    id_ = visit.request.path_params["id"]
    one = await visit.ask(view.read_connector, id=id_)
    if one.direction == "out":
        return RedirectResponse(subscription.ADDRESS.format(id=id_), 303, headers=NO_STORE)
    return visit.page(
        "pages/connector.html",
        now=datetime.now(UTC),
        one=one,
        settings=told(msgspec.to_builtins(one.config)),
        may_operate=visit.may("operate"),
    )


@changes
async def pause_it(visit: Visit, _: Form) -> Response:
    """Takes in nothing from now on."""
    held = await visit.ask(steps.pause_connector, id=visit.request.path_params["id"])
    return visit.back(ADDRESS.format(id=held.id), f"{held.name} is paused. Nothing is lost.")


@changes
async def resume_it(visit: Visit, _: Form) -> Response:
    """Goes on where it stood."""
    going = await visit.ask(steps.resume_connector, id=visit.request.path_params["id"])
    return visit.back(ADDRESS.format(id=going.id), f"{going.name} goes on where it stood.")


ROUTES = (
    Route(ADDRESS, show_connector, methods=["GET"]),
    Route(f"{ADDRESS}/pause", pause_it, methods=["POST"]),
    Route(f"{ADDRESS}/resume", resume_it, methods=["POST"]),
)
