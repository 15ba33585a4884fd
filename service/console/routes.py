"""The paths of all pages, and of what they are drawn with."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route

from service.console import static
from service.console.catalogue import asyncapi, event_type, index
from service.console.pages import (
    audit,
    connector,
    dead_letter,
    dead_letters,
    messages,
    overview,
    replay,
    sign_in,
    subscription,
    subscriptions,
)

CATALOGUE: Sequence[BaseRoute] = (
    Route("/catalogue", index.show_types, methods=["GET"]),
    Route("/catalogue/asyncapi.json", asyncapi.show_document, methods=["GET"]),
    Route("/catalogue/types/{type}", event_type.show_type, methods=["GET"]),
    Route("/catalogue/types/{type}/versions/{version}", event_type.show_version, methods=["GET"]),
    Route(static.PATH, static.show_file, methods=["GET"]),
)
# There with SERVICE_CONSOLE=on alone.
CONSOLE: Sequence[BaseRoute] = (
    *overview.ROUTES,
    *subscriptions.ROUTES,
    *subscription.ROUTES,
    *replay.ROUTES,
    *connector.ROUTES,
    *dead_letters.ROUTES,
    *dead_letter.ROUTES,
    *messages.ROUTES,
    *audit.ROUTES,
    *sign_in.ROUTES,
)
