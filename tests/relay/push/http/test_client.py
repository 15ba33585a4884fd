"""One request, whatever the receiver does with it."""

import asyncio
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from relay.push.http import pool
from relay.push.http.answer import MAX_BODY_BYTES, Answer
from relay.push.http.client import Destination
from relay.push.http.connection import Connection
from relay.push.http.guard import Guard
from relay.push.http.lines import lines
from relay.push.http.pool import Pool
from relay.push.http.url import Url
from tests.receiver import (
    OK,
    Reaction,
    Receiver,
    after,
    cut,
    drip,
    endless_body,
    gzip_bomb,
    hang,
    redirect,
    reset,
    respond,
    then_close,
)
from tests.relay.push.http.requests import LOOPBACK, Client, Request, post, request


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared: Receiver) -> Receiver:
    shared.react = OK
    shared.paths = {}
    shared.requests = []
    shared.connections = 0
    return shared


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    made = Client(Guard(LOOPBACK))
    try:
        yield made
    finally:
        await made.close()


def test_a_request_arrives_as_it_was_made_and_names_the_product(receiver: Receiver) -> None:
    async def send() -> Answer:
        headers = {"content-type": "text/plain", "webhook-id": "7", "x-own": "Zo%C3%AB"}
        async with client() as push:
            url = f"{receiver.url}/hooks/a?token=%2Fx"
            return await push.post(Request(url, headers, b"\0\xff body", 5.0, float("inf")))

    answer = uvloop.run(send())
    assert (answer.status, answer.error, answer.detail, answer.body) == (200, None, "", b"")
    (request,) = receiver.requests
    assert request.path == "/hooks/a?token=%2Fx"
    assert request.body == b"\0\xff body"
    assert request.header("user-agent").startswith("outbox-relay/")
    expected = {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": request.header("user-agent"),
        "content-length": "7",
        "content-type": "text/plain",
        "webhook-id": "7",
        "x-own": "Zo%C3%AB",
    }
    assert request.headers == expected


def test_a_failed_answer_is_kept_with_what_it_says_about_trying_again(receiver: Receiver) -> None:
    date = "Sun, 22 Nov 2026 16:00:00 GMT"
    receiver.react = respond(503, b"come back later", {"Retry-After": "120", "Date": date})
    answer = post(receiver.url)
    assert (answer.status, answer.error, answer.detail) == (
        503,
        "http_503",
        "answered 503 Service Unavailable",
    )
    assert (answer.body, answer.retry_after, answer.date) == (b"come back later", "120", date)
    assert 0 < answer.seconds < 5


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        (cut, "disconnected"),
        (reset, "disconnected"),
        (hang, "timeout"),
        (drip(503, 0.01, head=True), "timeout"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "protocol"),
    ],
    ids=["cut", "reset", "hang", "dripping head", "no HTTP"],
)
def test_a_receiver_that_never_answers_is_a_failure_with_its_word(
    receiver: Receiver, reaction: Reaction, error: str
) -> None:
    receiver.react = reaction
    answer = post(receiver.url, timeout_seconds=0.1)
    assert (answer.status, answer.error) == (None, error)
    assert 0 < len(answer.detail) <= 300
    assert answer.detail.isprintable()
    assert answer.seconds < 2


@pytest.mark.parametrize(
    "reaction",
    [endless_body(503), gzip_bomb(503), drip(503, 0.01), respond(503, bytes(1_000_000))],
    ids=["endless body", "gzip bomb", "dripping body", "large body"],
)
def test_of_a_hostile_body_little_is_kept_and_the_status_stands(
    receiver: Receiver, reaction: Reaction
) -> None:
    receiver.react = reaction
    tracemalloc.start()
    answer = post(receiver.url, timeout_seconds=0.2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status, answer.error) == (503, "http_503")
    assert 0 < len(answer.body) <= MAX_BODY_BYTES
    assert answer.seconds < 2
    assert most < 5_000_000


def test_nothing_is_unpacked(receiver: Receiver) -> None:
    receiver.react = gzip_bomb(503)
    gzip_magic = b"\x1f\x8b"
    assert post(receiver.url).body.startswith(gzip_magic)


def test_an_acknowledgement_stands_though_its_body_never_ends(receiver: Receiver) -> None:
    for reaction in (endless_body(200), drip(200, 0.01), respond(204), respond(299, b"thanks")):
        receiver.react = reaction
        answer = post(receiver.url, timeout_seconds=0.1)
        assert answer.error is None
        assert answer.body == b""


def test_requests_one_after_the_other_share_a_connection_also_after_failures(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)

    async def several() -> None:
        async with client() as push:
            for reaction in (OK, respond(200, b"body"), respond(503, b"body"), respond(404), OK):
                receiver.react = reaction
                await push.post(request(receiver.url))

    uvloop.run(several())
    assert [received.connection for received in receiver.requests] == [1] * 5


def test_the_next_request_after_an_endless_body_has_a_connection_of_its_own(
    receiver: Receiver,
) -> None:
    async def both() -> Answer:
        async with client() as push:
            receiver.react = endless_body(200)
            await push.post(request(receiver.url))
            receiver.react = OK
            return await push.post(request(receiver.url))

    assert uvloop.run(both()).error is None
    assert [received.connection for received in receiver.requests] == [1, 2]


def test_a_connection_that_ended_in_the_pool_is_never_written_to_twice(receiver: Receiver) -> None:
    """An endpoint that closes unannounced after each answer costs an attempt, never a double."""

    async def twice() -> list[Answer]:
        async with client() as push:
            receiver.react = then_close()
            return [await push.post(request(f"{receiver.url}/?token=x")) for _ in range(2)]

    first, second = uvloop.run(twice())
    assert first.error is None
    assert second.error in (None, "disconnected")
    assert len(receiver.requests) == (2 if second.error is None else 1)
    assert receiver.url not in second.detail
    assert "token" not in second.detail


def test_a_redirect_is_told_without_the_query_of_its_target(receiver: Receiver) -> None:
    receiver.react = redirect("http://b.example/next?token=x#y", 307)
    assert "to http://b.example/next, and" in post(receiver.url).detail


def test_nothing_is_written_once_the_lease_is_over(receiver: Receiver) -> None:
    """On a connection of the pool, on a new one, and where dialling took too long."""

    def slow_look_up(host: str, port: int, **_: object) -> list[object]:
        time.sleep(0.1)
        where = ("127.0.0.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]

    async def late() -> list[Answer]:
        now = time.monotonic
        push = Client(Guard(LOOPBACK), slow_look_up)  # type: ignore[arg-type]
        try:
            return [
                await push.post(request(receiver.url, send_before=now())),
                await push.post(
                    request(f"http://a.example:{receiver.port}", send_before=now() + 0.05)
                ),
                await push.post(request(receiver.url, send_before=now() + 60)),
                await push.post(request(receiver.url, send_before=now())),
            ]
        finally:
            await push.close()

    answers = uvloop.run(late())
    assert [answer.error for answer in answers] == ["lease_over", "lease_over", None, "lease_over"]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("stays", [True, False], ids=["in hand", "opened"])
def test_a_loop_that_stood_still_over_the_end_of_the_lease_writes_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    """Between the step that has a connection and the one that writes."""

    def take_slowly(self: Pool, url: Url) -> Connection | None:
        connection = take(self, url)
        time.sleep(0.1)
        assert (connection is not None) == stays
        return connection

    async def frozen() -> Answer:
        async with client() as push:
            await push.post(request(receiver.url))
            monkeypatch.setattr(Pool, "take", take_slowly)
            late = request(receiver.url, send_before=time.monotonic() + 0.05)
            return await push.post(late)

    take = Pool.take
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0 if stays else 60.0)
    assert uvloop.run(frozen()).error == "lease_over"
    assert len(receiver.requests) == 1


def test_a_request_that_is_given_up_leaves_no_connection_to_others(receiver: Receiver) -> None:
    async def given_up() -> list[Answer]:
        async with client() as push:
            receiver.react = hang
            late = await push.post(request(receiver.url, timeout_seconds=0.1))
            receiver.react = OK
            return [late, await push.post(request(receiver.url))]

    assert [answer.error for answer in uvloop.run(given_up())] == ["timeout", None]
    assert [received.connection for received in receiver.requests] == [1, 2]


def test_a_client_that_is_closed_answers_nothing_that_is_under_way(receiver: Receiver) -> None:
    """Nobody knows whether it was taken: its lease ends, and it is tried again."""

    async def closed() -> list[Answer]:
        answers: list[Answer] = []
        async with client() as push:
            receiver.react = hang
            to = Destination(receiver.url, 5.0)
            push.send(to, lines([]), b"", float("inf"), answers.append)
            await asyncio.to_thread(receiver.wait, 1)
        for _ in range(5):
            await asyncio.sleep(0)
        return answers

    assert uvloop.run(closed()) == []


def test_one_endpoint_that_hangs_delays_no_other(receiver: Receiver) -> None:
    async def beside() -> list[Answer]:
        async with client() as push:
            receiver.paths["/slow"] = after(2)
            slow = [
                asyncio.create_task(push.post(request(f"{receiver.url}/slow"))) for _ in range(50)
            ]
            quick = [await push.post(request(receiver.url)) for _ in range(20)]
            for task in slow:
                task.cancel()
            return quick

    assert all(answer.error is None and answer.seconds < 1 for answer in uvloop.run(beside()))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1025/", "connect"),
        (f"http://{'a' * 64}.example/", "url"),
        ("http://nowhere.invalid/", "dns"),
        ("ftp://127.0.0.1/", "url"),
        ("http://127.0.0.1:99999/?token=secret", "url"),
        ("http:///", "url"),
    ],
)
def test_an_endpoint_that_is_nowhere_is_a_failure_with_its_word(url: str, error: str) -> None:
    answer = post(url)
    assert (answer.status, answer.error) == (None, error)
    assert "secret" not in answer.detail


def test_a_checked_address_is_dialled_with_the_endpoints_own_name_in_the_handshake() -> None:
    hello = b""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            nonlocal hello
            with server.accept()[0] as connection:
                hello = connection.recv(4096)

        listener = threading.Thread(target=listen)
        listener.start()

        def look_up(host: str, port: int, **_: object) -> list[object]:
            where = ("127.0.0.1", port)
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]

        async def shake() -> Answer:
            push = Client(Guard(LOOPBACK), look_up)  # type: ignore[arg-type]
            try:
                port = server.getsockname()[1]
                return await push.post(request(f"https://hooks.example.com:{port}/"))
            finally:
                await push.close()

        answer = uvloop.run(shake())
        listener.join(5)
    assert b"hooks.example.com" in hello
    assert answer.error in ("tls", "connect")


def test_what_is_no_tls_is_said_to_be_none(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_in_plain() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Plain\r\n\r\n")

        threading.Thread(target=answer_in_plain, daemon=True).start()
        assert post(f"https://127.0.0.1:{server.getsockname()[1]}/").error == "tls"


def test_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            plain, _ = server.accept()
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                got.append(secure.recv(4096))

        listener = threading.Thread(target=accept)
        listener.start()
        answer = post(f"https://127.0.0.1:{server.getsockname()[1]}/")
        listener.join(5)
    assert answer.error == "tls_untrusted"
    assert "certificate verify failed" in answer.detail
    assert got in ([], [b""])


def test_a_request_that_can_not_be_made_is_an_answer_too(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Connection:
        raise RuntimeError("broken\n")

    monkeypatch.setattr(Pool, "open", broken)
    answer = post(receiver.url)
    assert (answer.status, answer.error) == (None, "fault")
    assert answer.detail.isprintable()
    assert receiver.requests == []


@pytest.mark.parametrize("forged", ["1\r\nx-forged: 2", "1\n", "\r1", "1\0"])
def test_no_header_says_more_than_its_name_and_value(forged: str) -> None:
    for headers in ([("x-own", forged)], [("a", "1"), (forged, "2")]):
        with pytest.raises(ValueError, match="line break"):
            lines(headers)


def test_an_empty_body_goes_as_one(receiver: Receiver) -> None:
    async def send() -> Answer:
        async with client() as push:
            return await push.post(Request(receiver.url, {}, b"", 5.0, float("inf")))

    assert uvloop.run(send()).error is None
    assert receiver.requests[0].header("content-length") == "0"
