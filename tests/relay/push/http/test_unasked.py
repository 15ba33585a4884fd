"""What an endpoint says unasked: it counts for no message, costs no memory, delays no other."""

import asyncio
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest
import uvloop

from relay.push.http import pool
from relay.push.http.answer import Answer
from relay.push.http.guard import Guard
from tests.relay.push.http.endpoint import OK, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client, Request, post
from tests.relay.push.http.requests import request as small

STRAYS = [
    OK,
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"H",
    b"\r\n",
    b"\0",
]
STRAY_NAMES = ["200", "408", "half a head", "100", "one byte", "an empty line", "a zero"]


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may be used again at once: else it would rest, and the fault with it."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)


def twice(url: str, between: Callable[[], None], *, blocking: bool) -> list[Answer]:
    """Two requests; `between` them the loop turns, or stands still where that is `blocking`."""

    async def both() -> list[Answer]:
        client = Client(Guard(LOOPBACK))
        first = await client.post(small(url))
        if blocking:
            between()
        else:
            await asyncio.to_thread(between)
        second = await client.post(small(url))
        await client.close()
        return [first, second]

    return uvloop.run(both())


@pytest.mark.parametrize("blocking", [True, False], ids=["unread", "read"])
@pytest.mark.parametrize("stray", STRAYS, ids=STRAY_NAMES)
def test_an_unsolicited_answer_is_no_answer_to_the_next_request(
    stray: bytes, blocking: bool
) -> None:
    got: list[bytes] = []
    answered, sent = threading.Event(), threading.Event()

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        connection.sendall(OK)
        if len(got) == 1:
            answered.wait(10)
            connection.sendall(stray)
            sent.set()
        until_closed(connection)

    with endpoint(speak) as server:
        answers = twice(server.url, lambda: _wait(answered, sent), blocking=blocking)
        assert [answer.error for answer in answers] == [None, None]
        assert len(got) == 2
        assert server.connections == 2


def _wait(answered: threading.Event, sent: threading.Event) -> None:
    answered.set()
    assert sent.wait(10)
    # The bytes have left; loopback delivers them before the next system call of this thread's.
    time.sleep(0.01)


@pytest.mark.parametrize("stray", STRAYS[:5], ids=STRAY_NAMES[:5])
def test_what_follows_an_answer_in_the_same_breath_ends_the_connection(stray: bytes) -> None:
    got: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        connection.sendall(OK + stray)
        until_closed(connection)

    with endpoint(speak) as server:
        answers = twice(server.url, lambda: None, blocking=True)
        assert [answer.error for answer in answers] == [None, None]
        assert (len(got), server.connections) == (2, 2)


def test_a_server_that_speaks_first_gets_no_message_taken_for_delivered() -> None:
    """Its connection is closed before anything is written, or its words are no HTTP answer."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.6 password=hunter2\r\n")
        until_closed(connection)

    with endpoint(speak) as server:
        answer = post(server.url, timeout_seconds=2)
        assert answer.error == "protocol"
        assert "SSH" not in answer.detail
        assert "hunter2" not in answer.detail


def test_a_flood_on_an_idle_connection_ends_it_and_costs_no_memory() -> None:
    sent = 0
    ended = threading.Event()

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        request(connection)
        connection.sendall(OK)
        part = bytes(65_536)
        try:
            while sent < 200_000_000:
                sent += connection.send(part)
        except OSError:
            ended.set()

    with endpoint(flood) as server:
        tracemalloc.start()
        twice(server.url, lambda: None, blocking=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert ended.wait(10)
        assert sent < 20_000_000
        assert most < 5_000_000


@pytest.mark.parametrize(
    "again",
    [
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 7000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
    ids=["small", "large", "many at once"],
)
def test_informational_answers_without_end_are_a_failure_at_once(again: bytes) -> None:
    ended = threading.Event()

    def speak(connection: socket.socket) -> None:
        request(connection)
        try:
            while True:
                connection.sendall(again)
        except OSError:
            ended.set()

    with endpoint(speak) as server:
        answer = post(server.url, timeout_seconds=10)
        assert answer.error == "protocol"
        assert answer.seconds < 5
        assert ended.wait(10)


@pytest.mark.parametrize(("informational", "error"), [(5, None), (6, "protocol")])
def test_five_informational_answers_are_passed_over_and_no_more(
    informational: int, error: str | None
) -> None:
    def speak(connection: socket.socket) -> None:
        request(connection)
        for _ in range(informational):
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        connection.sendall(OK)
        until_closed(connection)

    with endpoint(speak) as server:
        assert post(server.url).error == error


def test_switching_protocols_is_no_answer() -> None:
    def speak(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                           b"Connection: upgrade\r\n\r\n" + OK)  # fmt: skip
        until_closed(connection)

    with endpoint(speak) as server:
        assert post(server.url).error == "protocol"


LARGE = bytes(20_000_000)


def large(url: str, timeout_seconds: float) -> Answer:
    async def once() -> Answer:
        client = Client(Guard(LOOPBACK))
        answer = await client.post(Request(url, {}, LARGE, timeout_seconds, float("inf")))
        await client.close()
        return answer

    return uvloop.run(once())


def test_no_acknowledgement_counts_before_the_request_is_written_whole() -> None:
    """An endpoint that answers 200 and never reads on has not got the message."""
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(OK)
        over.wait(10)

    with endpoint(speak) as server:
        answer = large(server.url, 0.5)
        over.set()
        assert (answer.status, answer.error) == (None, "timeout")


def close(connection: socket.socket) -> None:
    """By a reset, since not all was read."""
    connection.close()


def reset(connection: socket.socket) -> None:
    """Whatever was read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


ACKNOWLEDGEMENTS = {
    "with a length": OK,
    "to be closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "without a length": b"HTTP/1.1 200 OK\r\n\r\n",
    "and noise": OK + b"\0\0",
}


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("acknowledgement", ACKNOWLEDGEMENTS.values(), ids=ACKNOWLEDGEMENTS)
def test_an_acknowledgement_is_none_where_the_rest_of_the_request_is_never_read(
    acknowledgement: bytes, end: Callable[[socket.socket], None]
) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(acknowledgement)
        time.sleep(0.1)
        end(connection)

    with endpoint(speak) as server:
        answer = large(server.url, 10)
        assert (answer.status, answer.error) == (None, "disconnected")


def test_an_acknowledgement_that_came_early_counts_once_all_is_written() -> None:
    read: list[int] = []

    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(OK)
        time.sleep(0.05)
        read.append(until_closed(connection))

    with endpoint(speak) as server:
        answer = large(server.url, 30)
        assert (answer.status, answer.error) == (200, None)
    assert server.connections == 1


def test_a_refusal_that_comes_early_counts_at_once() -> None:
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        over.wait(10)

    with endpoint(speak) as server:
        answer = large(server.url, 10)
        over.set()
        assert (answer.status, answer.error) == (413, "http_413")
        assert answer.seconds < 5
