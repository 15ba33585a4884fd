"""What an endpoint's URL says to a client: whom to connect to, and what to ask for there."""

import re
import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec

from relay.push.http.fault import Fault

DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_ILLEGAL = re.compile(r"[\x00-\x20\x7f#]")
# A token in it may be signed as it is spelled: whatever can stand in a request stays as it is.
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))


class Origin(msgspec.Struct, frozen=True):
    """Whom a connection leads to."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def is_numeric(self) -> bool:
        """Whether `host` is an address, so that no look-up is needed."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Url(msgspec.Struct, frozen=True):
    """An endpoint: `target` is the path and query of its requests, `authority` their Host."""

    text: str
    origin: Origin
    target: str
    authority: str


@lru_cache(maxsize=10_000)
def parse(text: str) -> Url:
    """Raises Fault `url` where it is none to send to."""
    try:
        if _ILLEGAL.search(text):
            raise ValueError
        parts = urlsplit(text)
        scheme = parts.scheme
        if scheme not in ("http", "https") or "@" in parts.netloc:
            raise ValueError
        host = _host(parts.hostname or "")
        port = DEFAULT_PORTS[scheme] if parts.port is None else parts.port
        if port == 0:
            raise ValueError
    except ValueError:
        detail = "the endpoint is no http:// or https:// URL to send to: correct it"
        raise Fault("url", detail) from None
    origin = Origin(scheme, host, port)  # type: ignore[arg-type]
    authority = str(origin) if port != DEFAULT_PORTS[scheme] else str(origin).rpartition(":")[0]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(text, origin, quote(target, safe=_PRINTABLE), authority)


def _host(host: str) -> str:
    """The name in ASCII, or the address in its one spelling. Raises ValueError."""
    if ":" in host:
        return str(ip_address(host.replace("%25", "%")))
    if not host.isascii():
        # Compatibility forms of letters and digits become plain ones, as resolvers read them.
        host = host.encode("idna").decode("ascii")
    host = host.lower()
    if not _NAME.fullmatch(host):
        raise ValueError
    try:
        # Numbers are an address in many spellings (decimal, octal, hexadecimal, shortened): one is
        # meant, and judged.
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return host
