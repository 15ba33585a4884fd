"""A page: a template filled in, with the headers of all pages. Everything in it is escaped."""

from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from service.console import words
from service.console.security import HEADERS, HEADERS_WITH_SCRIPT
from service.console.static import ADDRESSES
from service.problems import Problem

# It is for its reader alone.
NO_STORE = {"Cache-Control": "no-store"}

# What every page leads to; without a session to the catalogue alone.
CATALOGUE = ("Catalogue", "/catalogue")
NAVIGATION = (
    ("Overview", "/console"),
    ("Subscriptions", "/console/subscriptions"),
    ("Dead letters", "/console/dead-letters"),
    ("Messages", "/console/messages"),
    CATALOGUE,
    ("Audit", "/console/audit"),
)

Page = Callable[[Request], Awaitable[Response]]

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.globals["static"] = ADDRESSES
_templates.globals |= {"navigation": NAVIGATION, "catalogue": CATALOGUE}
_templates.filters |= {
    "count": words.count,
    "day": words.day,
    "duration": words.duration,
    "moment": words.moment,
    "plural": words.plural,
    "rate": words.rate,
    "second": words.second,
    "size": words.size,
}


def rendered(
    template: str, *, visit: object | None = None, status: int = 200, **context: Any
) -> Response:
    """The template as an answer; `visit` of somebody who is signed in to the console."""
    content = _templates.get_template(template).render(context, visit=visit, status=status)
    headers = HEADERS if visit is None else HEADERS_WITH_SCRIPT
    return Response(
        content, status, headers={**headers, **NO_STORE}, media_type="text/html; charset=utf-8"
    )


def as_page(run: Page) -> Page:
    """The endpoint of a page: a Problem is a page as well."""

    @wraps(run)
    async def show(request: Request) -> Response:
        try:
            return await run(request)
        except Problem as problem:
            response = rendered(
                "problem.html",
                visit=getattr(request.state, "visit", None),
                status=problem.status,
                title=HTTPStatus(problem.status).phrase,
                detail=problem.detail,
            )
            response.headers.update(problem.headers or {})
            return response

    return show
