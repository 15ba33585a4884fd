"""A tunnel through the operator's proxy: https://www.rfc-editor.org/rfc/rfc9110#name-connect."""

import asyncio
import base64
import re
import socket
from urllib.parse import SplitResult, unquote

from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.resolver import AddrInfo
from relay.push.http.tcp import connect

MAX_HEAD_BYTES = 8192
# To the proxy itself. How long it takes to reach an endpoint is the endpoint's time.
CONNECT_SECONDS = 4.0

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_REFUSES_US = 407


class Proxy:
    """An HTTP proxy that knows CONNECT. It is the operator's, and may be anywhere."""

    def __init__(self, url: SplitResult) -> None:
        """Of http://[user:password@]host:port."""
        self._host, self._port = url.hostname or "", url.port or 0
        self._authorization = ""
        if url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            encoded = base64.b64encode(pair.encode()).decode()
            self._authorization = f"Proxy-Authorization: Basic {encoded}\r\n"

    async def tunnel(self, address: AddrInfo) -> socket.socket:
        """A socket that leads to the address. Raises Fault.

        NoConnectionError where the proxy is away or refuses this relay: no endpoint is to blame.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                wire = await connect(await self._address())
        except NoConnectionError:
            raise
        except (OSError, Fault) as error:
            raise NoConnectionError(f"the proxy can't be reached: {error}") from error
        try:
            await self._ask(wire, address)
        except BaseException:
            wire.close()
            raise
        return wire

    async def _address(self) -> AddrInfo:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return found[0]

    async def _ask(self, wire: socket.socket, address: AddrInfo) -> None:
        host, port = address[4][:2]
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{self._authorization}\r\n"
        loop, answer = asyncio.get_running_loop(), b""
        try:
            await loop.sock_sendall(wire, head.encode())
            while b"\r\n\r\n" not in answer:
                more = await loop.sock_recv(wire, MAX_HEAD_BYTES)
                answer += more
                if not more or len(answer) > MAX_HEAD_BYTES:
                    raise NoConnectionError("the proxy's answer to CONNECT is none")
        except OSError as error:
            raise NoConnectionError(f"the proxy broke off: {error.strerror}") from error
        status = _STATUS.match(answer)
        if status is None or int(status[1]) == _REFUSES_US:
            raise NoConnectionError("the proxy refuses this relay: look at RELAY_PUSH_PROXY")
        if not 200 <= int(status[1]) < 300:
            raise Fault("connect", f"the proxy answered CONNECT with {int(status[1])}")
        if not answer.endswith(b"\r\n\r\n"):
            # Only the endpoint at the other end of the tunnel can have spoken before a request.
            raise Fault("protocol", "it spoke before anything was asked")
