"""Answers as servers really write them: the status decides, and what is odd ends the connection."""

import asyncio
import math
import socket
import threading
import time
from collections import Counter

import pytest
import uvloop

from relay.push.http import pool
from relay.push.http.answer import MAX_BODY_BYTES, Answer
from relay.push.http.connection import MAX_PIECES, Connection
from relay.push.http.deadlines import Deadlines
from relay.push.http.guard import Guard
from tests.relay.push.http.endpoint import OK, endpoint, request
from tests.relay.push.http.requests import LOOPBACK, Client, Request
from tests.relay.push.http.requests import request as small


def answers(*written: bytes, closes: bool = False, timeout_seconds: float = 5.0) -> list[Answer]:
    """Of two requests to a server that answers each so, and the connections that they took."""
    connections = 0

    def speak(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        while True:
            request(connection)
            for part in written:
                connection.sendall(part)
            if closes:
                return

    async def both(url: str) -> list[Answer]:
        client = Client(Guard(LOOPBACK))
        got = []
        for _ in range(2):
            if closes:
                # Or the second request may cross with the first connection's close.
                await client.close()
                client = Client(Guard(LOOPBACK))
            got.append(await client.post(small(url, timeout_seconds=timeout_seconds)))
        await client.close()
        return got

    with endpoint(speak) as server:
        got = uvloop.run(both(server.url))
        assert connections == server.connections
        shared.append(connections == 1)
        return got


shared: list[bool] = []


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that may be used again is, at once."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    shared.clear()


LONG = b"X-Long: " + b"x" * 9000 + b"\r\n"
FIELDS = b"".join(b"X-%d: y\r\n" % number for number in range(200))


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
         True),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n" + LONG + b"Content-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Content-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
         b"0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.1 205 Reset Content\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", False),
        (b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000), False),
        (b"HTTP/1.1 299 Fine\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 5_000 + b"\r\n", False),
    ],
)  # fmt: skip
def test_a_2xx_is_an_acknowledgement_however_it_is_framed(answer: bytes, keeps: bool) -> None:
    got = answers(answer)
    assert [(one.error, one.body) for one in got] == [(None, b"")] * 2
    assert all(one.seconds < 4 for one in got)
    assert shared == [keeps]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_an_answer_that_comes_in_pieces_is_the_same(size: int) -> None:
    whole = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    pieces = [whole[place : place + size] for place in range(0, len(whole), size)]
    for one in answers(*pieces):
        assert (one.status, one.body, one.retry_after) == (429, b"abcde", "17")
    assert shared == [True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Nope\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 503 Nope\r\nContent-Length: 30\r\n\r\nabc",
        b"HTTP/1.1 503 Nope\r\n\r\nabc",
        b"HTTP/1.0 503 Nope\r\n\r\nabc",
        b"HTTP/1.1 503 Nope\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_a_refusals_body_is_kept_however_it_ends(answer: bytes) -> None:
    for one in answers(answer, closes=True):
        assert (one.status, one.error, one.body) == (503, "http_503", b"abc")


def test_of_a_refusals_long_body_16_kib_are_kept_and_the_connection_ends() -> None:
    body = bytes(range(256)) * 1000
    head = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(body)
    for one in answers(head + body):
        assert one.body == body[:MAX_BODY_BYTES]
    assert shared == [False]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"-ERR unknown command 'POST'\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nICY\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"{}",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\xff" * 100_000,
    ],
)
def test_what_is_no_http_answer_is_a_failure_and_its_words_are_not_shown(answer: bytes) -> None:
    for one in answers(answer):
        assert (one.status, one.error, one.body) == (None, "protocol", b"")
        assert one.detail == "what came is no HTTP answer"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"]
)
def test_an_answer_that_breaks_off_in_its_head_is_none(answer: bytes) -> None:
    for one in answers(answer, closes=True):
        assert (one.status, one.error) == (None, "disconnected")


def test_an_answer_whose_head_never_ends_in_time_is_none() -> None:
    for one in answers(b"HTTP/1.1 200 OK\r\nX-More: ", timeout_seconds=0.1):
        assert (one.status, one.error) == (None, "timeout")


def test_a_body_that_never_ends_in_time_changes_no_status() -> None:
    for one in answers(b"HTTP/1.1 503 Nope\r\nContent-Length: 30\r\n\r\nabc", timeout_seconds=0.1):
        assert (one.status, one.body) == (503, b"abc")


def test_trailers_say_nothing() -> None:
    answer = (
        b"HTTP/1.1 503 Nope\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 86400\r\n\r\n"
    )
    assert [one.retry_after for one in answers(answer)] == [None, None]


def test_chunks_with_endless_extensions_end_the_connection() -> None:
    flood = b"1;" + b"x" * 60_000

    def speak(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 503 Nope\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(flood)

    async def once(url: str) -> Answer:
        client = Client(Guard(LOOPBACK))
        answer = await client.post(small(url, timeout_seconds=30))
        await client.close()
        return answer

    with endpoint(speak) as server:
        answer = uvloop.run(once(server.url))
        assert (answer.status, answer.body) == (503, b"")
        assert answer.seconds < 10


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "headers": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"a:\r\n" * 6_000 + b"\r\n",
    "trailers": CHUNKED + b"0\r\n" + b"a:\r\n" * 8_000 + b"\r\n",
    "chunks": CHUNKED + b"1\r\na\r\n" * 9_000 + b"0\r\n\r\n",
    "answers": OK * 2_000,
}


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_of_an_answer_in_thousands_of_pieces_the_status_counts_and_few_are_looked_at(
    flood: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(Connection, name)

        def counted(self: Connection, *piece: bytes) -> None:
            looked_at[name] += 1
            method(self, *piece)

        monkeypatch.setattr(Connection, name, counted)

    for name in ("on_header", "on_body", "on_message_begin", "on_headers_complete"):
        count(name)
    got = answers(flood.replace(b"200 OK", b"%d No" % status))
    assert [one.status for one in got] == [status] * 2
    assert shared == [False]
    assert sum(looked_at.values()) / len(got) < 600


class Keeper:
    """Of a connection that no pool has."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()

    def rest(self, connection: Connection) -> None:
        """The test does not use it."""

    def lost(self, connection: Connection) -> None:
        """The test does not use it."""


class Wire(asyncio.Transport):
    """Takes everything at once, but for what is `left`; what comes the test brings."""

    def __init__(self, left: int = 0) -> None:
        super().__init__()
        self._left = left

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has no buffer."""

    def get_write_buffer_size(self) -> int:
        return self._left

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """It has gone."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """The test brings no more by then."""


def byte_by_byte(beginning: bytes, wire: Wire) -> tuple[Answer, int]:
    """What comes of an answer that comes so, and how much of it came."""

    async def come() -> tuple[Answer, int]:
        got: list[Answer] = []
        connection, came = Connection(Keeper()), 1
        connection.connection_made(wire)
        connection.ask(b"POST / HTTP/1.1\r\n\r\n", b"", time.monotonic(), 60.0, got.append)
        connection.data_received(beginning)
        while not got:
            connection.data_received(b"x")
            came += 1
        return got[0], came

    return asyncio.run(come())


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 503 No\r\nX-Endless: ",
        b"HTTP/1.1 503 No\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["head", "body", "framing"],
)
def test_an_answer_that_comes_byte_by_byte_is_over_after_so_many(beginning: bytes) -> None:
    answer, came = byte_by_byte(beginning, Wire())
    assert answer.status == 503
    assert came <= MAX_PIECES + 1


def test_so_is_one_that_comes_before_its_request_has_gone_and_it_does_not_count() -> None:
    beginning = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    answer, came = byte_by_byte(beginning, Wire(left=1))
    assert answer.error == "protocol"
    assert came <= MAX_PIECES + 1


ACK = b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 16:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


def test_an_answer_like_the_one_before_says_the_same_and_what_differs_does_not() -> None:
    written = [ACK, ACK, NO, NO, ACK, b"HTTP/1.1 103 x\r\n\r\n" + ACK, ACK, ACK[:-1], ACK]

    def speak(connection: socket.socket) -> None:
        while True:
            request(connection)
            connection.sendall(written.pop(0))

    async def several(url: str) -> list[str | None]:
        client = Client(Guard(LOOPBACK))
        got = [(await client.post(small(url, timeout_seconds=0.5))).error for _ in range(9)]
        await client.close()
        return got

    with endpoint(speak) as server:
        got = uvloop.run(several(server.url))
        # Of an answer that is not whole the status counts, and its connection does not go on.
        assert got == [None, None, "http_503", "http_503", *[None] * 5]
        assert server.connections == 2


@pytest.mark.parametrize("stray", [ACK, b"H", NO], ids=["the same again", "a byte", "another"])
def test_what_follows_an_answer_like_the_one_before_ends_the_connection(stray: bytes) -> None:
    written = [ACK, ACK, ACK + stray, NO]

    def speak(connection: socket.socket) -> None:
        while True:
            request(connection)
            connection.sendall(written.pop(0))

    async def several(url: str) -> list[str | None]:
        client = Client(Guard(LOOPBACK))
        got = [(await client.post(small(url))).error for _ in range(4)]
        await client.close()
        return got

    with endpoint(speak) as server:
        assert uvloop.run(several(server.url)) == [None, None, None, "http_503"]
        assert server.connections == 2


def test_an_answer_like_the_one_before_counts_no_sooner_than_its_request_is_written_whole() -> None:
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        for _ in range(2):
            request(connection)
            connection.sendall(ACK)
        connection.recv(1000)
        connection.sendall(ACK)
        over.wait(10)

    async def several(url: str) -> list[str | None]:
        client = Client(Guard(LOOPBACK))
        got = [(await client.post(small(url))).error for _ in range(2)]
        large = Request(url, {}, bytes(20_000_000), 0.5, math.inf)
        got.append((await client.post(large)).error)
        await client.close()
        return got

    with endpoint(speak) as server:
        got = uvloop.run(several(server.url))
        over.set()
        assert got == [None, None, "timeout"]
        assert server.connections == 1
