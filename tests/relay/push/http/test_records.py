"""What TLS gets of what comes in, and when."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from relay.push.http.connection import (
    MAX_EMPTY_BYTES,
    MAX_HANDSHAKE_BYTES,
    ORDINARY_BYTES,
    Connection,
)
from relay.push.http.deadlines import Deadlines
from relay.push.http.records import MAX_READ_BYTES, Records


@pytest.fixture(autouse=True)
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.AbstractEventLoop]:
    """One that turns only where a test says so."""
    one = asyncio.new_event_loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: one)
    yield one
    one.close()


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """What is due on it by now."""
    loop.call_soon(loop.stop)
    loop.run_forever()


class Carrier(asyncio.Transport):
    """A TCP transport on which nothing comes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.closing = False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """It has gone."""


class Tls(asyncio.BufferedProtocol):
    """Counts the bytes that it gets."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(bytearray(256_000))

    def buffer_updated(self, nbytes: int) -> None:
        self.got.append(nbytes)


class Keeper:
    """Of connections that no pool has."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.rested: list[Connection] = []

    def rest(self, connection: Connection) -> None:
        self.rested.append(connection)

    def lost(self, connection: Connection) -> None:
        """No test closes it."""


class Opening:
    """A connection whose handshake is under way; its steps wait until the test takes them."""

    def __init__(self) -> None:
        self.carrier, self.tls = Carrier(), Tls()
        self.steps: list[Callable[[], None]] = []
        self.keeper = Keeper()
        self.connection = Connection(self.keeper)
        self.connection.carried(self.carrier)
        self.records = Records(self.carrier, self.tls, self.connection, self.steps.append)


def test_of_a_handshake_tls_gets_nothing_that_goes_beyond_the_bound() -> None:
    opening = Opening()
    for _ in range(2):
        opening.records.buffer_updated(MAX_HANDSHAKE_BYTES // 2)
        opening.steps.pop()()
    assert not opening.carrier.is_closing()
    opening.records.buffer_updated(1)
    assert opening.carrier.is_closing()
    assert not opening.steps
    assert sum(opening.tls.got) == MAX_HANDSHAKE_BYTES


def test_a_handshakes_next_bytes_are_not_read_before_its_turn_has_come() -> None:
    opening = Opening()
    opening.records.buffer_updated(1000)
    assert (opening.tls.got, opening.carrier.reads) == ([], False)
    opening.steps.pop()()
    assert (opening.tls.got, opening.carrier.reads) == ([1000], True)


def test_what_waits_of_a_connection_that_was_closed_meanwhile_is_not_computed() -> None:
    opening = Opening()
    opening.records.buffer_updated(1000)
    opening.carrier.abort()
    opening.steps.pop()()
    assert opening.tls.got == []


def test_of_an_open_connection_few_empty_records_wait_for_no_turn_and_all_are_bounded() -> None:
    opening = Opening()
    opening.connection.connection_made(opening.carrier)
    opening.connection.requests = 1
    opening.records.buffer_updated(ORDINARY_BYTES)
    assert (opening.tls.got, opening.steps) == ([ORDINARY_BYTES], [])
    for size in (MAX_EMPTY_BYTES - ORDINARY_BYTES, 1):
        assert not opening.carrier.is_closing()
        opening.records.buffer_updated(size)
        opening.steps.pop()()
    assert opening.carrier.is_closing()


def test_one_read_brings_little_so_that_little_comes_before_it_is_counted() -> None:
    assert len(Opening().records.get_buffer(-1)) == MAX_READ_BYTES


REQUEST = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Asked(Opening):
    """Its connection is open, and a request is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[int | None] = []
        self.connection.connection_made(self.carrier)
        self.connection.ask(
            REQUEST, b"", time.monotonic(), 60.0, lambda answer: self.answers.append(answer.status)
        )


def test_a_long_answer_goes_to_tls_in_turns_and_its_connection_rests_with_none_left(
    loop: asyncio.AbstractEventLoop,
) -> None:
    asked = Asked()
    asked.records.buffer_updated(ORDINARY_BYTES)
    assert not asked.steps
    asked.records.buffer_updated(1)
    assert asked.tls.got == [ORDINARY_BYTES]
    # An answer that would leave it open, while TLS has not got all that came.
    asked.connection.data_received(OK)
    turn(loop)
    assert asked.answers == [200]
    assert not asked.keeper.rested
    assert asked.carrier.is_closing()


def test_what_an_answer_brings_about_is_no_part_of_its_turn(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the requests of others, and takes longer than a turn."""
    asked = Asked()
    monkeypatch.setattr(asked.tls, "buffer_updated", lambda _: asked.connection.data_received(OK))
    asked.records.buffer_updated(ORDINARY_BYTES + 1)
    asked.steps.pop()()
    assert asked.keeper.rested
    assert not asked.answers
    turn(loop)
    assert asked.answers == [200]


def test_what_comes_while_it_rests_goes_to_tls_in_turns_too_and_it_takes_no_request() -> None:
    asked = Asked()
    connection = asked.connection
    connection.data_received(OK)
    near, far = socket.socketpair()
    with near, far:
        connection.opened(near)
        asked.records.buffer_updated(ORDINARY_BYTES)
        assert connection.check_open()
        asked.records.buffer_updated(ORDINARY_BYTES)
        assert len(asked.tls.got) == len(asked.steps) == 1
        assert not connection.check_open()
