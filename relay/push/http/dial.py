"""From an origin to an open connection: look up, check, connect, shake hands."""

import asyncio
import ssl
from collections.abc import Hashable, Sequence
from functools import cached_property, partial
from socket import socket

from relay.push.fair_turns import Owner
from relay.push.http.connection import MAX_HANDSHAKE_BYTES, Connection
from relay.push.http.decrypted import Decrypted
from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.guard import Guard
from relay.push.http.handshakes import Handshakes
from relay.push.http.proxy import Proxy
from relay.push.http.records import count
from relay.push.http.resolver import AddrInfo, Resolver
from relay.push.http.tcp import connect
from relay.push.http.tls import client_context, fault_of
from relay.push.http.url import Origin

# Of several addresses each gets its share of the time that is left, and no less than this.
MIN_CONNECT_SECONDS = 1.0


class Dialler:
    """Opens connections; the one place where addresses are dialled."""

    def __init__(self, guard: Guard, resolver: Resolver, proxy: Proxy | None) -> None:
        self._guard = guard
        self._resolver = resolver
        self._proxy = proxy
        self._handshakes = Handshakes()

    @property
    def late_seconds(self) -> float:
        """How long the handshakes that wait for their turn have waited by now."""
        return self._handshakes.late_seconds

    def waits_for_others(self, origin: Origin, owner: Owner, connection: Connection) -> bool:
        """Whether what has come of its handshake waits, and none of its owner's is why."""
        return connection.waits and not self._handshakes.is_resting(_whose(origin, owner))

    async def dial(
        self, origin: Origin, owner: Owner, connection: Connection, seconds: float
    ) -> None:
        """Opens `connection` to the origin, of a subscription of `owner`. Raises Fault.

        Its caller ends it after `seconds`, which several addresses share.
        """
        self._guard.admit(origin)
        addresses = await self._resolver.addresses(origin, owner, seconds)
        # All of them, before the first is dialled: an endpoint that names a private
        # address beside a public one waits for the private one's turn.
        for *_, address in addresses:
            self._guard.check(address[0])
        wire = await self._reach(origin, addresses, seconds)
        try:
            await self._open(origin, owner, connection, wire)
        except BaseException:
            wire.close()
            raise

    async def _reach(self, origin: Origin, addresses: Sequence[AddrInfo], seconds: float) -> socket:
        """Tries one address after the other."""
        *others, last = addresses
        for address in others:
            try:
                async with asyncio.timeout(max(seconds / len(addresses), MIN_CONNECT_SECONDS)):
                    return await self._connect(address)
            except NoConnectionError:
                raise
            except (Fault, TimeoutError):
                continue
        try:
            return await self._connect(last)
        except Fault as fault:
            if fault.word == "connect":
                raise Fault("connect", f"{origin}: {fault.detail}") from fault
            raise

    async def _connect(self, address: AddrInfo) -> socket:
        if self._proxy is None:
            return await connect(address)
        # By the address that was checked, and not by name: where a name leads is decided here.
        return await self._proxy.tunnel(address)

    async def _open(
        self, origin: Origin, owner: Owner, connection: Connection, wire: socket
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            if origin.scheme == "http":
                await loop.create_connection(lambda: connection, sock=wire)
            else:
                await self._secure(origin, owner, connection, wire)
        except ssl.SSLError as error:
            raise fault_of(str(origin), error) from error
        except OSError as error:
            if not connection.are_records_bounded:
                why = f"its handshake has more than {MAX_HANDSHAKE_BYTES} bytes"
                raise Fault("tls_too_large", f"{origin}: {why}") from error
            raise Fault("tls", f"{origin}: the connection ended in the handshake") from error
        connection.opened(wire)

    async def _secure(
        self, origin: Origin, owner: Owner, connection: Connection, wire: socket
    ) -> None:
        """By a transport of our own below TLS, since only that knows what has not gone yet."""
        loop = asyncio.get_running_loop()
        carrier, _ = await loop.create_connection(asyncio.Protocol, sock=wire)
        carrier.set_write_buffer_limits(high=0)
        connection.carried(carrier)
        # In the loop's next turn, when TLS reads from it and nothing has come yet.
        in_turn = partial(self._handshakes.add, _whose(origin, owner))
        loop.call_soon(count, carrier, connection, in_turn)
        try:
            # A name that is whole by its dot has none here, nor in certificates (RFC 6066, 3).
            name = origin.host.rstrip(".")
            transport = await loop.start_tls(
                carrier, Decrypted(connection), self._context, server_hostname=name
            )
        except BaseException:
            carrier.abort()
            raise
        assert transport is not None
        if carrier.is_closing():
            raise ConnectionResetError
        connection.connection_made(transport)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        # Made when it is needed: reading the system's authorities takes some 20 ms.
        return client_context()


def _whose(origin: Origin, owner: Owner) -> Hashable:
    """Who takes turns: a limited key, or each endpoint of the operator's."""
    return origin if owner is None else owner
