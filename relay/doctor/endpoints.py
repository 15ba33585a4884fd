"""What the doctor finds about endpoints: where they lead, which fail, what is parked."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.operate.table import duration
from relay.push.http.fault import Fault
from relay.push.http.guard import Guard
from relay.push.http.url import parse
from relay.settings import Settings

FAILING_SECONDS = 3600.0
LOOK_UP_SECONDS = 5.0
MAX_ENDPOINTS = 200


class Endpoint(msgspec.Struct, frozen=True):
    """Where the requests of one subscription go."""

    subscription: str
    url: str


ENDPOINTS = """
    select name, settings ->> 'endpoint' from outbox.subscription
    where kind = 'http' order by name limit %s
"""


def endpoints(connection: Connection) -> list[Endpoint]:
    """The first of them by name. Raises psycopg.Error."""
    return [Endpoint(*row) for row in connection.execute(ENDPOINTS, (MAX_ENDPOINTS,))]


FAILING = """
    select subscription, extract(epoch from clock_timestamp() - failing_since)::float8
    from outbox.breaker_state
    where failing_since < clock_timestamp() - make_interval(secs => %s)
    order by failing_since limit 20
"""
PARKED = """
    select subscription, parked from outbox.delivery_summary
    where parked > 0 order by subscription limit 20
"""


def examine(connection: Connection) -> Iterator[Finding]:
    """What the database knows of them. Raises psycopg.Error."""
    for name, seconds in connection.execute(FAILING, (FAILING_SECONDS,)):
        text = f"nothing but failures of {name} for {duration(seconds)}; after 5 days it is paused"
        hint = "see sql/inspect/failed_attempts.sql; repaired, it goes on by itself"
        yield Finding("warning", "breaker", text, hint)
    for name, parked in connection.execute(PARKED):
        text = f"{parked} groups of {name} wait for a message that was given up"
        redrive = f"outbox-relay dead-letters redrive --all --subscription {name}"
        hint = f"repair what refused it, then: {redrive}"
        yield Finding("warning", "parked", text, hint)


def look_up(found: Sequence[Endpoint], settings: Settings) -> Iterator[Finding]:
    """Whether each name leads somewhere that requests may go to. Takes 5 s at most."""
    guard = Guard.of(settings)
    hosts = {one.url: urlsplit(one.url).hostname or "" for one in found}
    addresses = _addresses(set(hosts.values()))
    wrong = False
    for one in found:
        host = hosts[one.url]
        finding = _finding(one, host, addresses.get(host), guard, settings)
        if finding is not None:
            wrong = True
            yield finding
    if found and not wrong:
        yield ok("endpoints", f"{len(found)}, and their names lead where requests may go")


def _finding(
    one: Endpoint,
    host: str,
    addresses: Sequence[str] | None,
    guard: Guard,
    settings: Settings,
) -> Finding | None:
    try:
        guard.admit(parse(one.url).origin)
    except Fault as fault:
        text = f"{one.subscription}: {fault.detail}: nothing is sent"
        return Finding("warning", "endpoint", text, "correct settings.endpoint, or that setting")
    if not addresses:
        why = "does not resolve" if addresses is not None else "did not resolve in time"
        text = f"{one.subscription}: {host} {why} here, and nothing is sent"
        return Finding("warning", "endpoint", text, "correct settings.endpoint, or repair the DNS")
    refused = [address for address in addresses if not guard.allows(address)]
    if refused:
        where = host if host == refused[0] else f"{host}, which is {refused[0]},"
        if guard.denies(refused[0]):
            text = f"{one.subscription}: {where} is denied: nothing is sent"
            hint = "correct settings.endpoint, or RELAY_DENY_NETWORKS"
            return Finding("warning", "endpoint", text, hint)
        text = f"{one.subscription}: {where} is not public: nothing is sent"
        hint = "if it is yours, name its network in RELAY_ALLOW_NETWORKS"
        return Finding("warning", "endpoint", text, hint)
    inside = all(
        any(ip_address(address) in network for network in settings.networks)
        for address in addresses
    )
    if urlsplit(one.url).scheme == "http" and not inside:
        text = f"{one.subscription}: http:// to {host}: every host on the way can read it"
        return Finding("warning", "endpoint", text, "make settings.endpoint an https:// address")
    return None


def _addresses(hosts: set[str]) -> Mapping[str, Sequence[str]]:
    """Of each name all, none where there is no such name; a name that hangs is missing."""
    found: dict[str, list[str]] = {}

    def resolve(host: str) -> None:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found[host] = []
        else:
            found[host] = [str(address[0]) for *_, address in infos]

    # Daemons: nothing ends a look-up, and the command has to end.
    threads = [threading.Thread(target=resolve, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LOOK_UP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)
