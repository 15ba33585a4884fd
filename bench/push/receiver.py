"""The endpoints, a process of its own, until stdin is closed.

POST /ok/… is answered at once and /slow/… later, /fail/… with an error every second time, /hang/…
never; /beside/… at once, too, and nothing is noted of it.

It prints its port for http and the one for https, whose certificate and key it is given. For each
line that it reads it prints what has come since the last one: {path: [[n, begin, end], …]}, in
nanoseconds since 1970; n is the number in the body.
"""

import asyncio
import itertools
import json
import random
import ssl
import sys
import time
from typing import cast

import uvloop

SEED = 5
# What a slow endpoint takes, uniformly.
SLOW_SECONDS = (0.15, 0.45)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAULT = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


class Receiver:
    """What has come, by path."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.random = random.Random(SEED)
        self.faults = itertools.cycle((FAULT, ANSWER))
        self._requests: dict[str, list[tuple[int, int, int]]] = {}

    def note(self, path: str, n: int, begin: int, end: int) -> None:
        self._requests.setdefault(path, []).append((n, begin, end))

    def tell(self) -> None:
        """Answers a line of stdin; its end is the end."""
        if not sys.stdin.readline():
            self.loop.stop()
            return
        requests, self._requests = self._requests, {}
        print(json.dumps(requests), flush=True)


class Connection(asyncio.Protocol):
    """Keep-alive, and one request after the other."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        length = int(head.lower().partition(LENGTH)[2].partition(b"\r\n")[0])
        if len(self._buffer) < end + 4 + length:
            return
        body = self._buffer[end + 4 :]
        self._buffer = b""
        path = head.split(b" ", 2)[1].decode()
        # There anything may come.
        n = 0 if path.startswith("/beside/") else number(body)
        self._answer(path, n, time.time_ns())

    def _answer(self, path: str, n: int, begin: int) -> None:
        if path.startswith("/ok/"):
            self._transport.write(ANSWER)
            self._receiver.note(path, n, begin, begin)
        elif path.startswith("/slow/"):
            seconds = self._receiver.random.uniform(*SLOW_SECONDS)
            self._receiver.loop.call_later(seconds, self._answer_late, path, n, begin)
        elif path.startswith("/fail/"):
            self._transport.write(next(self._receiver.faults))
        elif path.startswith("/beside/"):
            self._transport.write(ANSWER)

    def _answer_late(self, path: str, n: int, begin: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)
        self._receiver.note(path, n, begin, time.time_ns())


def number(body: bytes) -> int:
    """That of a body as bench.messages makes them."""
    return int(body.partition(b":")[2].partition(b",")[0])


async def serve(certificate: str) -> None:
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ports = []
    for tls in (None, context):
        server = await receiver.loop.create_server(
            lambda: Connection(receiver), "127.0.0.1", 0, backlog=4096, ssl=tls
        )
        ports.append(server.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    receiver.loop.add_reader(sys.stdin.fileno(), receiver.tell)


def main() -> None:
    loop = uvloop.new_event_loop()
    loop.run_until_complete(serve(sys.argv[1]))
    loop.run_forever()


if __name__ == "__main__":
    main()
