"""Which numeric addresses are public, and what they lead to."""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

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


def may_be_dialled(address: str, allowed: Sequence[Network]) -> bool:
    """Whether it is public or in an allowed network; False for what is no numeric address."""
    try:
        return _allows(ip_address(address), allowed)
    except ValueError:
        return False


def leads_into(address: str, networks: Sequence[Network]) -> bool:
    """Whether it is in one of the networks, or leads there; False for what is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    leads_to: list[IPv4Address | IPv6Address] = [parsed]
    if isinstance(parsed, IPv6Address):
        leads_to += _embedded(parsed)
    return any(each in network for each in leads_to for network in networks)


def stays_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether it is in one of the networks, or all that it leads to are; False for what is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if any(parsed in network for network in networks):
        return True
    leads_to = _embedded(parsed) if isinstance(parsed, IPv6Address) else []
    return bool(leads_to) and all(any(each in network for network in networks) for each in leads_to)


def _allows(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    embedded = _embedded(address)
    if embedded:
        return all(_allows(each, allowed) for each in embedded)
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
