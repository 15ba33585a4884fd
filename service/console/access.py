"""Who may read the catalogue's pages: who is signed in to the console, and who sends a key.

A browser can't be told to send `Authorization: Bearer`. But it asks by itself for a name and a
password where that is what a page wants (RFC 7617), so the key is the password. The API takes no
key in this way: what a browser sends by itself, pages of others can make it send.
"""

import base64
import binascii
import re

from starlette.requests import Request

from service.console.visit import Visit, visit_of
from service.settings import Settings
from service.web.access.authorization import BEARER, Authorization, Caller, Form, require_any
from service.web.access.keys import FORM

# Where the catalogue is public its pages read all of it, as a key with the scope read.
ANYBODY = Caller(id=0, name="anybody", scopes=["read"], channels=None)

_BASIC = re.compile(r"(?i:basic) +([A-Za-z0-9+/=]+) *")


def _key(header: str) -> str | None:
    if not (basic := _BASIC.fullmatch(header)):
        return BEARER.key(header)
    try:
        _, _, password = base64.b64decode(basic[1], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if re.fullmatch(FORM, password) else None


PAGES = Form(
    key=_key,
    asks="The catalogue asks for an API key with the scope read: give it as the password, with any "
    "name.",
    challenge='Basic realm="Event catalogue", charset="UTF-8"',
)


def signed_in(request: Request) -> Visit | None:
    """Who looks at it, after `reader`, if they are signed in to the console."""
    visit: Visit | None = getattr(request.state, "visit", None)
    return visit


async def reader(request: Request) -> Caller:
    """Raises Problem: 401 without a valid key, 403 for one without the scope read."""
    if (visit := await visit_of(request)) is not None:
        require_any(visit.caller, ("read",))
        return visit.caller
    settings: Settings = request.state.settings
    if settings.catalogue == "public":
        return ANYBODY
    authorization: Authorization = request.state.authorization
    caller = await authorization.caller(request.headers, ("read",), PAGES)
    request.state.caller = caller
    return caller
