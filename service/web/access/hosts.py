"""Which names this service answers to, and whose pages may call it."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem, refuse

# With these methods a page of another site changes nothing, and it can't read the answer.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# No name is longer (RFC 1035, 2.3.4), and one of 16,000 labels has as many names above it.
MAX_NAME_LENGTH = 253
DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Hosts:
    """ASGI middleware: refuses foreign names and foreign pages, with problem details.

    421 for a Host that is none of `names` (`shop.example.com`, `*.example.com` for every name
    below it, `*` for all), 400 for none or two; the paths in `probes` are answered under any name.

    403 for a WebSocket, or a request that changes something, from the page of another site. A
    browser says in `Origin` whose page it is, and lets no page change that (RFC 6454); other
    callers send none. A page's own site is the Host that is called, and, as a proxy may have
    changed that, any of `names`, where these are listed.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], probes: Collection[str]) -> None:
        self._app = app
        self._names = None if "*" in names else frozenset(names)
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is meant for this service and comes from no foreign page."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._probes:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._foreign_host(headers)
        if problem is None and not (scope["type"] == "http" and scope["method"] in SAFE_METHODS):
            problem = self._foreign_page(headers)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await refuse(problem, scope, receive, send)

    def _foreign_host(self, headers: Headers) -> Problem | None:
        if self._names is None:
            return None
        given = headers.getlist("host")
        if len(given) != 1 or (authority := _authority(f"//{given[0]}")) is None:
            return Problem(400, "One Host is required, and no more.")
        if not self._is_listed(authority[0]):
            return Problem(421, "This service does not answer to that Host; see SERVICE_HOSTS.")
        return None

    def _foreign_page(self, headers: Headers) -> Problem | None:
        given = headers.getlist("origin")
        if not given:
            return None
        page = _authority(given[0]) if len(given) == 1 else None
        if page is not None:
            hosts = [_authority(f"//{host}", given[0]) for host in headers.getlist("host")]
            if hosts == [page] or self._is_listed(page[0]):
                return None
        return Problem(403, "The page of another site may not do that; see SERVICE_HOSTS.")

    def _is_listed(self, name: str) -> bool:
        if self._names is None or len(name) > MAX_NAME_LENGTH:
            return False
        above = name.split(".")[1:]
        return name in self._names or any(
            f"*.{'.'.join(above[start:])}" in self._names for start in range(len(above))
        )


def _authority(url: str, scheme_of: str = "") -> tuple[str, int | None] | None:
    """(name, port) of a URL, None if it has none; the scheme's port where it does not say one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    scheme = parts.scheme or scheme_of.partition(":")[0].lower()
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.rstrip(".")
    return name, port or DEFAULT_PORTS.get(scheme)
