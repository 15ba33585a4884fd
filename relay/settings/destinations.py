"""Which addresses endpoints may have, as RELAY_* variables write it: networks, ports, a proxy."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """`10.1.0.0/16,fd00::/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(name) for name in _listed(text))


def ports(text: str) -> tuple[range, ...]:
    """`443,8000-8999`. Raises ValueError."""
    return tuple(_range(name) for name in _listed(text))


def proxy(text: str) -> SplitResult | None:
    """`http://user:password@host:3128`, with its port; None where empty. Raises ValueError."""
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
        # Without what was written: it may hold a password.
        raise ValueError("it is none")
    return parts


def _listed(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    found = range(int(first), int(last if dash else first) + 1)
    if not found or found[0] < 1 or found[-1] > 65_535:
        raise ValueError(f"{text} is no port from 1 to 65535, and no range of them")
    return found
