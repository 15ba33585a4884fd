"""Where connectors may send whose requests are signed: to what the operator names by host and path.

By a credential or by the relay's own identity in its cloud. Who makes a connector could else have
them send to whatever they may.
"""

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from relay.addresses import leads_into
from relay.push.away import Away
from relay.settings import Settings
from relay.settings.credentials import CredentialError, bounds, variable_of
from relay.settings.destinations import AllowedHosts

PORTS = {"http": 80, "https": 443}


def demand(url: str, path: str, credentials: str | None, settings: Settings, hint: str) -> None:
    """Raises Away where nothing may go to this path of the URL's host.

    `hint` says what is not named, and how to name it. Looks the host up, which may take its time.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    if settings.push_https_only and parts.scheme != "https":
        raise Away("http:// is refused here: RELAY_PUSH_HTTPS_ONLY is set")
    where, hosts = _allowed(credentials, settings)
    if not any(one.names_path(host, port, path) for one in hosts):
        raise Away(f"{host}{path}: {where} names no such {hint}")
    for address in _addresses(host, port):
        if leads_into(address, settings.denied_networks):
            raise Away(f"{host}: {address} is in RELAY_DENY_NETWORKS")


def _allowed(credentials: str | None, settings: Settings) -> tuple[str, Sequence[AllowedHosts]]:
    """The variable that says where it may go, and its hosts; a credential may have its own."""
    if credentials is not None:
        try:
            own = bounds(credentials, settings.credential(credentials)).hosts
        except CredentialError as wrong:
            raise Away(str(wrong)) from None
        if own is not None:
            return variable_of(credentials, "hosts"), own
    return "RELAY_ALLOW_HOSTS", settings.hosts


def _addresses(host: str, port: int) -> set[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Away(f"{host}: no address was found for that name") from None
    return {str(address[0]) for *_, address in found}
