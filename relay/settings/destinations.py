"""Where the relay may go, as RELAY_* variables write it: networks, ports, hosts, a proxy."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import msgspec

from relay.addresses import Network


def networks(text: str) -> tuple[Network, ...]:
    """`10.1.0.0/16,fd00::/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(name) for name in _listed(text))


def ports(text: str) -> tuple[range, ...]:
    """`443,8000-8999`. Raises ValueError."""
    return tuple(_range(name) for name in _listed(text))


class AllowedHosts(msgspec.Struct, frozen=True):
    """A name, all names that end so (`*.suffix`), or the addresses of a network; at these ports.

    With a `path`, of an account's queues or a project's topics or of one of them, it allows these
    alone.
    """

    ports: range
    name: str = ""
    network: Network | None = None
    path: str = ""

    def names(self, host: str, port: int) -> bool:
        """Whether it allows this host by its name."""
        return not self.path and self._names(host, port)

    def names_path(self, host: str, port: int, path: str) -> bool:
        """Whether it allows the queue or topic at this path of a host."""
        is_below = bool(self.path) and f"{path}/".startswith(f"{self.path}/")
        return is_below and self._names(host, port)

    def _names(self, host: str, port: int) -> bool:
        host = host.lower().rstrip(".")
        if not self.name or port not in self.ports:
            return False
        if self.name.startswith("*"):
            return host.endswith(self.name[1:])
        return host == self.name


def hosts(text: str) -> tuple[AllowedHosts, ...]:
    """`kafka.internal,*.kafka.internal:9092,10.1.0.0/16:9092-9099,[fd00::/8]:9092`.

    Raises ValueError.
    """
    return tuple(_hosts(name) for name in _listed(text))


# A network of IPv6 stands in brackets where a port follows.
_HOSTS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<ports>[0-9-]+))?")
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_ANY_PORT = range(1, 65_536)
# An account and perhaps one of its queues, or a project and perhaps one of its topics.
_PATH = re.compile(
    r"(?P<host>[^/]+)(?P<path>/[0-9]{12}(/[A-Za-z0-9_.-]{1,80})?"
    r"|/projects/[a-z0-9.:-]{1,100}(/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254})?)"
)


def _hosts(text: str) -> AllowedHosts:
    below = _PATH.fullmatch(text)
    if below is not None:
        of_host = _hosts(below["host"])
        number = of_host.network
        name = of_host.name if number is None else str(number.network_address)
        return AllowedHosts(of_host.ports, name=name, path=below["path"])
    parts = _HOSTS.fullmatch(text)
    if parts is None:
        return AllowedHosts(_ANY_PORT, network=ipaddress.ip_network(text))
    ports = _range(parts["ports"]) if parts["ports"] else _ANY_PORT
    host = (parts["v6"] or parts["host"]).lower()
    if parts["v6"] is None and _NAME.fullmatch(host) and not re.fullmatch(r"[0-9.]+", host):
        return AllowedHosts(ports, name=host)
    return AllowedHosts(ports, network=ipaddress.ip_network(host))


def roles(text: str) -> frozenset[str]:
    """`arn:aws:iam::123456789012:role/outbox,…`. Raises ValueError."""
    found = frozenset(_listed(text))
    for arn in found:
        if not _ROLE.fullmatch(arn):
            raise ValueError(f"{arn} is no ARN of a role")
    return found


_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=.@_/-]+")


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
