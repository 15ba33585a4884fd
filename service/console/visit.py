"""A visit to the console: who is signed in, what their key allows, and what they ask for.

A page asks the platform's own operations, with the key's own permissions: what the API refuses to
a key, it refuses here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.console import form as forms
from service.console import session
from service.console.form import Form
from service.console.origin import require_own_page
from service.console.page import NO_STORE, as_page, rendered
from service.platform import api
from service.problems import Problem
from service.web.access.authorization import Caller, require_any
from service.web.access.keys import Scope
from service.web.operations import query as queries
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

HOME = "/console"
SIGN_IN = "/console/sign-in"
# What says what became of a step, on the page that is shown after it, and the seal of that.
NOTICE, SEAL = "notice", "seal"
MAX_NOTICE_LENGTH = 300

Answer = TypeVar("Answer")
Query = TypeVar("Query")


@dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in. `token` is the session's."""

    request: Request
    caller: Caller
    token: str

    def may(self, *scopes: Scope) -> bool:
        """Whether the key has one of these scopes, for a page that leaves out what it may not."""
        return bool(set(scopes) & set(self.caller.scopes))

    @cached_property
    def form_token(self) -> str:
        """What every form of the page sends along: no page of others knows it."""
        return session.sealed(self.token, forms.TOKEN)

    @property
    def notice(self) -> str:
        """What became of the step before; empty where the service did not say it itself."""
        text = self.request.query_params.get(NOTICE, "")
        seal = self.request.query_params.get(SEAL, "")
        return text if session.is_sealed(self.token, _notice(text), seal) else ""

    @property
    def address(self) -> str:
        """This page's, without the notice: what it asks for when it looks again."""
        return self.address_with()

    def address_with(self, **changed: str | None) -> str:
        """This page's address with other parameters; None: without this one."""
        kept = {
            name: value
            for name, value in self.request.query_params.items()
            if name not in (NOTICE, SEAL)
        }
        kept |= {name: value or "" for name, value in changed.items()}
        wanted = urlencode({name: value for name, value in kept.items() if value})
        return f"{self.request.url.path}?{wanted}" if wanted else self.request.url.path

    def query(self, shape: type[Query]) -> Query:
        """The address's parameters, as an operation reads them. Raises Problem 422."""
        wanted = {NOTICE, SEAL}
        return queries.read(self.request, shape, leave_out=wanted, empty_is_none=True)

    async def ask(
        self,
        run: Callable[[Call[Any, Any]], Awaitable[Answer]],
        *,
        query: object | None = None,
        body: object | None = None,
        **ids: str,
    ) -> Answer:
        """What an operation of the platform answers; `run` is its function in the API's table.

        Raises Problem as the API does: 403 where the key has none of the operation's scopes.
        """
        operation = api.BY_RUN[run]
        require_any(self.caller, operation.scopes)
        for name, written in ids.items():
            if not operation.form(name).pattern.fullmatch(written):
                raise Problem(404, f"No such id; ids are {operation.form(name).plural}.")
        call: Call[Any, Any] = Call.of(
            self.request,
            caller=self.caller,
            ids=ids,
            query=NoQuery() if query is None else query,
            body=body,
            raw_body=b"",
            by_console=True,
        )
        return cast(Answer, await operation.run(call))

    def page(self, template: str, **context: Any) -> Response:
        """The template as an answer to this visit."""
        return rendered(template, visit=self, **context)

    def back(self, address: str, notice: str) -> Response:
        """Shows another page after a step, with what became of it."""
        text = notice[:MAX_NOTICE_LENGTH]
        said = urlencode({NOTICE: text, SEAL: session.sealed(self.token, _notice(text))})
        mark = "&" if "?" in address else "?"
        return RedirectResponse(f"{address}{mark}{said}", 303, headers=NO_STORE)


def _notice(text: str) -> str:
    """Sealed as a notice, it is nothing else."""
    return f"notice {text}"


async def visit_of(request: Request) -> Visit | None:
    """Who is signed in; None where nobody is, or there is no console."""
    if not request.state.settings.console or (token := session.token_of(request)) is None:
        return None
    if (caller := await session.find(request, token)) is None:
        return None
    visit = Visit(request, caller, token)
    request.state.caller, request.state.visit = caller, visit
    return visit


Shown = Callable[[Visit], Awaitable[Response]]
Changes = Callable[[Visit, Form], Awaitable[Response]]


def shown(run: Shown) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a page: who is not signed in comes to the page to do so, and then back."""

    @as_page
    @wraps(run)
    async def show(request: Request) -> Response:
        if (visit := await visit_of(request)) is None:
            return to_sign_in(request, request.url.path + _question(request))
        return await run(visit)

    return show


def changes(run: Changes) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a form that changes something: a POST of a page of this session."""

    @as_page
    @wraps(run)
    async def change(request: Request) -> Response:
        require_own_page(request)
        if (visit := await visit_of(request)) is None:
            return to_sign_in(request, HOME)
        form = await forms.read(request)
        if not session.is_sealed(visit.token, forms.TOKEN, form.text(forms.TOKEN)):
            raise Problem(403, "The form is not this session's: open its page again.")
        return await run(visit, form)

    return change


def _question(request: Request) -> str:
    return f"?{request.url.query}" if request.url.query else ""


def to_sign_in(request: Request, then: str) -> Response:
    """To the page of signing in, which leads to `then`. htmx is told to go there as a whole."""
    address = f"{SIGN_IN}?{urlencode({'then': then})}"
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={**NO_STORE, "HX-Redirect": address})
    return RedirectResponse(address, 303, headers=NO_STORE)


def own_address(written: str) -> str:
    """Where to go after signing in: a page of the service, and never of another site."""
    is_own = (
        written.startswith("/")
        # Browsers take both for the beginning of another site's address.
        and not written.startswith(("//", "/\\"))
        and written.isascii()
        and written.isprintable()
        and len(written) <= 2000
    )
    return written if is_own else HOME
