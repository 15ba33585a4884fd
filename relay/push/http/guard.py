"""Where a request may go: public addresses, and what the operator allows or denies."""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

from relay.push.http.fault import Fault, ForbiddenAddressError
from relay.push.http.url import Origin
from relay.settings import Settings

Network = IPv4Network | IPv6Network

# What is no global unicast. Listed here and not left to ipaddress.is_global, whose list depends on
# Python's version, takes multicast for global, and believes in all IPv6 space that is not
# allocated. https://www.iana.org/assignments/iana-ipv4-special-registry
_REFUSED_IPV4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        # Public by its number, and yet the metadata service of every Azure host.
        "168.63.129.16/32",
    )
]
# https://www.iana.org/assignments/ipv6-address-space: of it, only this is global unicast …
_GLOBAL_IPV6 = IPv6Network("2000::/3")
# … but for https://www.iana.org/assignments/iana-ipv6-special-registry
_REFUSED_IPV6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")


# Where nothing but HTTP is likely to listen: of the well-known ports only its own.
# https://www.iana.org/assignments/service-names-port-numbers
DEFAULT_PORTS = (range(80, 81), range(443, 444), range(1024, 65536))


class Guard:
    """Refuses whatever leads inside: loopback, private networks, cloud metadata.

    And whatever the operator denies: `denied` networks, though they are allowed or public; ports
    that are not among `ports`; and, with `https_only`, requests in plain text.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        denied: Sequence[Network] = (),
        ports: Sequence[range] = DEFAULT_PORTS,
        *,
        https_only: bool = False,
    ) -> None:
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)
        self._ports = tuple(ports)
        self._https_only = https_only

    @classmethod
    def of(cls, settings: Settings) -> "Guard":
        """The operator's."""
        return cls(
            settings.networks,
            settings.denied_networks,
            settings.ports,
            https_only=settings.push_https_only,
        )

    def admit(self, origin: Origin) -> None:
        """Raises Fault where no request may go there, whatever address its name leads to."""
        if self._https_only and origin.scheme != "https":
            raise Fault("https_only", "http:// is refused here: RELAY_PUSH_HTTPS_ONLY is set")
        if not any(origin.port in ports for ports in self._ports):
            raise Fault("forbidden_port", f"port {origin.port} is not among RELAY_PUSH_PORTS")

    def check(self, address: str) -> None:
        """Raises ForbiddenAddressError where this numeric address may not be dialled."""
        if not self.allows(address):
            denied = "is in RELAY_DENY_NETWORKS"
            private = "is not public: RELAY_ALLOW_NETWORKS opens networks"
            raise ForbiddenAddressError(address, denied if self.denies(address) else private)

    def allows(self, address: str) -> bool:
        """Whether this numeric address may be dialled; False for what is none."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return not self._denies(parsed) and self._allows(parsed)

    def denies(self, address: str) -> bool:
        """Whether the operator has denied this numeric address."""
        try:
            return self._denies(ip_address(address))
        except ValueError:
            return False

    def _denies(self, address: IPv4Address | IPv6Address) -> bool:
        leads_to: list[IPv4Address | IPv6Address] = [address]
        if isinstance(address, IPv6Address):
            leads_to += _embedded(address)
        return any(each in network for each in leads_to for network in self._denied)

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _REFUSED_IPV4)
        embedded = _embedded(address)
        if embedded:
            return all(self._allows(each) for each in embedded)
        return address in _GLOBAL_IPV6 and not any(address in each for each in _REFUSED_IPV6)


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a mapped, translated or tunnelled address leads to."""
    bits = int(address)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in _NAT64:
        return [IPv4Address(bits & 0xFFFF_FFFF)]
    if address in _LOCAL_NAT64:
        return _local_nat64(bits)
    return []


def _local_nat64(bits: int) -> list[IPv4Address]:
    # Which length of prefix a network chose can't be seen: only the two forms whose other reading
    # is 0.0.0.0 are believed. https://www.rfc-editor.org/rfc/rfc6052#section-2.2
    if bits >> 32 & (1 << 48) - 1 == 0:
        return [IPv4Address(bits & 0xFFFF_FFFF)]
    if bits & (1 << 40) - 1 == 0 and bits >> 56 & 0xFF == 0:
        return [IPv4Address((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)]
    return []
