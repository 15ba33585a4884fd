"""How much of what one client sends is worked on in one turn of the loop: others wait meanwhile."""

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState
from websockets.frames import Frame

from service.app import create_app
from service.settings import Settings
from service.web.server.connections import Connections
from service.web.server.http import HttpConnection
from service.web.server.websocket import WebSocketConnection
from tests.service.raw import post
from tests.service.shop import WEBHOOKS
from tests.service.web.server.test_front_sockets import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    handshake,
)

CHUNKED = post(WEBHOOKS, "Transfer-Encoding: chunked")
MEGABYTE = 1_048_576


class Unpacked:
    """What is unpacked, for each turn that there was something to read."""

    def __init__(self) -> None:
        self.parts = [0]
        self.sizes = [0]

    def begin(self, data: bytes) -> None:
        self.parts.append(0)
        self.sizes.append(len(data))

    def part(self) -> None:
        self.parts[-1] += 1


class CountedHttp(HttpConnection):
    """Counts what of a body is handed over."""

    def __init__(self, *, unpacked: Unpacked, **others: Any) -> None:
        super().__init__(**others)
        self._unpacked = unpacked

    def data_received(self, data: bytes) -> None:
        self._unpacked.begin(data)
        super().data_received(data)

    def on_body(self, body: bytes) -> None:
        self._unpacked.part()
        super().on_body(body)


class CountedWebSocket(WebSocketConnection):
    """Counts frames."""

    def __init__(self, *, unpacked: Unpacked, **others: Any) -> None:
        super().__init__(**others)
        self._unpacked = unpacked
        receive = self.conn.recv_frame

        def recv_frame(one: Frame) -> None:
            unpacked.part()
            receive(one)

        self.conn.recv_frame = recv_frame  # type: ignore[assignment, method-assign]

    def data_received(self, data: bytes) -> None:
        self._unpacked.begin(data)
        super().data_received(data)


async def listening(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes everything, and says no more than it has to."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    while (message := await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        if message["type"] == "http.request" and not message["more_body"]:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})


async def unpacked_of(begun: bytes, content: bytes) -> Unpacked:
    """Sends a flood behind what begins it, all that is taken of it."""
    loop = asyncio.get_running_loop()
    unpacked = Unpacked()
    app = create_app(Settings(database_url="postgresql:///"))
    bound = Connections(10, 60, app.state.metrics, app.state.database.refuse_one)
    counted: Any = {"unpacked": unpacked, "connections_bound": bound}
    http, websocket = partial(CountedHttp, **counted), partial(CountedWebSocket, **counted)
    config = uvicorn.Config(listening, ws=cast(type[asyncio.Protocol], websocket))
    config.load()
    state = ServerState()
    server = await loop.create_server(
        lambda: http(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(20):
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, begun)
            if b"websocket" in begun:
                await loop.sock_recv(client, 65_536)
            with suppress(OSError):  # It was closed, as it should be.
                await loop.sock_sendall(client, content)
                await loop.sock_recv(client, 65_536)
        while state.connections or state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
    return unpacked


FLOODS = {
    "messages": frame(TEXT, b"x"),
    "empty messages": frame(TEXT),
    "pings": frame(PING),
    "pongs": frame(PONG),
    "fragments": frame(TEXT, final=False) + frame(CONTINUATION),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_frames_are_unpacked_a_few_at_a_time_and_not_for_long(flood: str) -> None:
    more = FLOODS[flood]
    unpacked = asyncio.run(unpacked_of(handshake("any"), more * (MEGABYTE // len(more))))
    assert max(unpacked.sizes) > 10_000, "or else it is no flood"
    assert max(unpacked.parts) <= 100
    assert sum(unpacked.parts) <= 130


@pytest.mark.parametrize("size", [1, 2, 10, 40])
def test_small_chunks_are_unpacked_a_few_at_a_time_and_not_for_long(size: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, b" " * size)
    unpacked = asyncio.run(unpacked_of(CHUNKED, chunk * (MEGABYTE // len(chunk))))
    assert max(unpacked.sizes) > 10_000, "or else it is no flood"
    assert sum(unpacked.parts) <= 4000


def test_chunks_of_some_size_are_unpacked_to_the_end() -> None:
    unpacked = asyncio.run(
        unpacked_of(CHUNKED, (b"40\r\n%s\r\n" % (b" " * 64)) * 16_384 + b"0\r\n\r\n")
    )
    assert sum(unpacked.parts) >= 16_384
