"""From an origin to an open connection: look up, check, connect, shake hands."""

import asyncio
import ssl
from collections.abc import Sequence
from functools import cached_property
from socket import socket

from relay.push.fair_turns import Owner
from relay.push.http.connection import Connection
from relay.push.http.decrypted import Decrypted
from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.guard import Guard
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
            await self._open(origin, connection, wire)
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

    async def _open(self, origin: Origin, connection: Connection, wire: socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            if origin.scheme == "http":
                await loop.create_connection(lambda: connection, sock=wire)
            else:
                await self._secure(origin, connection, wire)
        except ssl.SSLError as error:
            raise fault_of(str(origin), error) from error
        except OSError as error:
            raise Fault("tls", f"{origin}: the connection ended in the handshake") from error
        connection.opened(wire)

    async def _secure(self, origin: Origin, connection: Connection, wire: socket) -> None:
        """By a transport of our own below TLS, since only that knows what has not gone yet."""
        loop = asyncio.get_running_loop()
        carrier, _ = await loop.create_connection(asyncio.Protocol, sock=wire)
        carrier.set_write_buffer_limits(high=0)
        connection.carried(carrier)
        # In the loop's next turn, when TLS reads from it and nothing has come yet.
        loop.call_soon(count, carrier, connection)
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
