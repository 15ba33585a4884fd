"""Where a browser has the console's pages from: by TLS, or without it on its own machine alone.

Elsewhere a cookie without TLS could be read on its way, and set by whoever has a name beside this
one, who would have somebody work in a session of theirs.
"""

from starlette.requests import Request

from service.problems import Problem
from service.settings import is_loopback

NO_TLS = (
    "Without TLS the console takes nothing but on its own machine, at http://127.0.0.1 or "
    "http://localhost; a key that was typed here came in clear. Open it by https: a proxy before "
    "the service ends TLS and passes on the Host that was called."
)
HIDDEN = (
    "The page came by https, and the service was told another Host than the browser called, or "
    "nothing of TLS. Have the proxy that ends TLS pass on the Host, or name it in "
    "SERVICE_FORWARDED_ALLOW_IPS and have it send X-Forwarded-Proto."
)


def is_plain(request: Request) -> bool:
    """Whether the pages come without TLS, as far as the request itself says.

    A proxy that ends TLS need not be named for that: the Host is then another machine's.
    """
    return request.url.scheme != "https" and is_loopback(request.url.hostname or "")


def require_own_page(request: Request) -> None:
    """Raises Problem 403 unless the browser says that a page of the console itself sends it.

    Browsers say so by Sec-Fetch-Site (Fetch Metadata); where that is missing, since the page came
    without TLS, by Origin, which service.web.access.hosts has compared with the Host. Origin also
    says whether the page came by TLS, and that must be what `is_plain` takes it for.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site != "same-origin" and (site is not None or origin is None):
        raise Problem(403, "Only a page of the console itself may do that.")
    plain = is_plain(request)
    if origin is not None and origin.startswith("https:") == plain:
        raise Problem(403, HIDDEN if plain else NO_TLS)
