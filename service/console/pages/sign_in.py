"""/console/sign-in and /console/sign-out: a session for an API key, and its end."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.console import form as forms
from service.console import session
from service.console.form import Form
from service.console.page import NO_STORE, as_page, rendered
from service.console.visit import HOME, SIGN_IN, Visit, changes, own_address, visit_of

WRONG = "This key is unknown, revoked or expired."
CANT_READ = "This key lacks the scope read, without which there is nothing to see."


@as_page
async def show_form(request: Request) -> Response:
    """The form that asks for a key; who is signed in already goes on."""
    then = own_address(request.query_params.get("then", HOME))
    if await visit_of(request) is not None:
        return RedirectResponse(then, 303, headers=NO_STORE)
    return rendered("pages/sign_in.html", then=then, wrong=None)


@as_page
async def sign_in(request: Request) -> Response:
    """Begins a session, if the key is one that may read."""
    form = await forms.read(request)
    then = own_address(form.text("then"))
    begun = await session.begin(request, form.text("key"))
    if begun is None:
        return rendered("pages/sign_in.html", status=401, then=then, wrong=WRONG)
    caller, token = begun
    if "read" not in caller.scopes:
        await session.end(request, token)
        return rendered("pages/sign_in.html", status=403, then=then, wrong=CANT_READ)
    if (before := session.token_of(request)) is not None:
        await session.end(request, before)
    response = RedirectResponse(then, 303, headers=NO_STORE)
    session.keep(response, request, token)
    return response


@changes
async def sign_out(visit: Visit, _: Form) -> Response:
    """Ends the session, here and for whoever else has its token."""
    await session.end(visit.request, visit.token)
    response = RedirectResponse(SIGN_IN, 303, headers=NO_STORE)
    session.forget(response)
    return response


ROUTES = (
    Route(SIGN_IN, show_form, methods=["GET"]),
    Route(SIGN_IN, sign_in, methods=["POST"]),
    Route("/console/sign-out", sign_out, methods=["POST"]),
)
