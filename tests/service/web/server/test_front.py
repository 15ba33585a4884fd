"""The service's sockets before any key: requests half sent or without end are ended."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from service.web.server.http import MAX_HEAD_BYTES, MAX_HEADERS
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.raw import Raw, get, post
from tests.service.shop import ORDERS
from tests.service.web.front import BODIES, HEADS, Front, only_ours, start


@pytest.mark.long
def test_half_a_head_is_ended_in_time(front: Front) -> None:
    with ExitStack() as stack:
        clients = {half: stack.enter_context(front.raw()).send(HEADS[half]) for half in HEADS}
        answers = {half: client.rest() for half, client in clients.items()}
    assert answers.pop("nothing") == b""
    for half, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 408 "), half
        assert b"application/problem+json" in answer, half
        assert b"connection: close" in answer, half


@pytest.mark.long
def test_half_a_body_is_ended_in_time(front: Front) -> None:
    with ExitStack() as stack:
        clients = {half: stack.enter_context(front.raw()).send(BODIES[half]) for half in BODIES}
        for half, client in clients.items():
            answer = client.rest()
            assert b"HTTP/1.1 408 " in answer, half
            assert b"application/problem+json" in answer, half


def drip(client: Raw, content: Iterator[bytes]) -> bytes:
    """Sends a byte every tenth of a second until the other side closes; what it said."""
    for byte in content:
        if not client.send_for(byte, 5):
            break
        time.sleep(0.1)
        if not client.is_open():
            return b"closed"
    return client.rest()


def endless(start: bytes, more: bytes) -> Iterator[bytes]:
    yield start
    for _ in range(100):
        yield more


DRIPS = [
    (b"", b"\r\n"),
    (b"G", b"E"),
    (b"GET / HTTP/1.1\r\n", b"a"),
    (b"GET / HTTP/1.1\r\nA: ", b"a"),
    (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
    (BODIES["half a body"], b" "),
    (BODIES["no chunk"] + b"1;", b"x"),
    (BODIES["no chunk"], b"1\r\n \r\n"),
    (BODIES["no chunk"], b"0"),
    (BODIES["half a trailer"], b"a"),
    # Answered before its body comes: what is left is waited for no longer than anything.
    (post("/v1/messages", "Content-Length: 1000000"), b"a"),
    (post("/nowhere", "Transfer-Encoding: chunked"), b"1\r\n \r\n"),
]


@pytest.mark.long
def test_a_drip_does_not_keep_a_connection(front: Front) -> None:
    """All at once: each is a client of its own."""

    def ended(begun: bytes, more: bytes) -> None:
        with front.raw() as client:
            drip(client, endless(begun, more))
            eventually(client.assert_closed)

    with ThreadPoolExecutor(len(DRIPS)) as pool:
        for one in [pool.submit(ended, *given) for given in DRIPS]:
            one.result()


def test_a_slow_body_that_moves_is_taken(front: Front) -> None:
    """For twice the time that a client gets to begin with: what counts is the rate."""
    order = b'{"number": "1"' + b" " * 6000 + b"}"
    with front.raw() as client:
        client.send(post(ORDERS, f"Content-Length: {len(order)}"))
        for start in range(0, len(order), 300):
            client.send(order[start : start + 300])
            time.sleep(0.1)
        status, answer = client.answer()
    assert status == 422, answer
    assert b"It is required" in answer


WITHOUT_END = [
    b"GET /" + b"a" * MAX_HEAD_BYTES,
    b"GET / HTTP/1.1\r\n" + b"a" * MAX_HEAD_BYTES,
    b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD_BYTES,
    b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 900,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    b"\r\n" * MAX_HEAD_BYTES,
    BODIES["no chunk"] + b"1;" + b"a" * MAX_HEAD_BYTES * 2,
    BODIES["no chunk"] + b"0" * MAX_HEAD_BYTES * 2,
    BODIES["half a trailer"] + b"a" * MAX_HEAD_BYTES * 2,
    BODIES["half a trailer"] + b"b\r\nA: b" * MAX_HEADERS,
]


def test_a_head_without_end_is_refused_and_counted(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    front = start(spawn, database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="300")
    for head in WITHOUT_END:
        with front.raw() as client:
            client.send_for(head, 5)
            answer = client.rest()
            assert answer.startswith(b"HTTP/1.1 431 "), head[-20:]
            assert b"application/problem+json" in answer, head[-20:]

    def counted() -> None:
        refused = 'service_connections_ended_total{reason="answered_431"}'
        assert front.metric(refused) == len(WITHOUT_END)

    eventually(counted)


def test_a_large_head_within_the_bound_is_taken(patient: Front) -> None:
    fields = [f"X-{number}: {'a' * 300}" for number in range(MAX_HEADERS - 1)]
    with patient.raw() as client:
        for _ in range(2):  # and the second is not added to the first
            assert client.send(get("/healthz", *fields)).answer()[0] == 200


def test_a_head_may_come_byte_by_byte(patient: Front) -> None:
    with patient.raw() as client:
        for byte in get("/healthz"):
            client.send(bytes([byte]))
        assert client.answer()[0] == 200


def chunks(*content: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in content)


def test_a_body_in_small_chunks_is_taken(patient: Front) -> None:
    """A short one as Python's own `json.JSONEncoder.iterencode` would have it sent."""
    for body in (chunks(*[b"[", b'"a"', b", "] * 333), chunks(*[b"[%s" % (b" " * 99)] * 2000)):
        with patient.raw() as client:
            client.send(BODIES["no chunk"] + body + b"0\r\n\r\n")
            assert client.answer()[0] == 422


def test_a_body_in_too_many_chunks_for_its_size_is_refused(patient: Front) -> None:
    """Each costs as much as it would if it were large."""
    for size in (1, 2, 30):
        with patient.raw() as client:
            client.send(BODIES["no chunk"] + chunks(*[b" " * size] * 2500))
            status, answer = client.answer()
            assert (status, b"too many chunks" in answer) == (400, True)
    # Kept alive, a connection has as many for each request.
    with patient.raw() as client:
        for _ in range(3):
            client.send(BODIES["no chunk"] + chunks(*[b" "] * 900) + b"0\r\n\r\n")
            assert client.answer()[0] == 422


@pytest.mark.parametrize(
    "codings", [["gzip, chunked"], ["gzip", "chunked"], ["identity"], ["x"], ["chunked;q=1"]]
)
def test_a_transfer_coding_that_is_not_chunked_is_refused(
    patient: Front, codings: list[str]
) -> None:
    """RFC 9112, 6.1: what is in the chunks would be taken for the body itself."""
    fields = [f"Transfer-Encoding: {coding}" for coding in codings]
    with patient.raw() as client:
        client.send(get("/healthz", *fields) + chunks(b"[]") + b"0\r\n\r\n")
        assert client.answer()[0] == 501
        assert client.rest() == b""


def test_chunked_is_known_in_any_case(patient: Front) -> None:
    with patient.raw() as client:
        content = chunks(b"[]") + b"0\r\n\r\n"
        client.send(get("/healthz", "Transfer-Encoding:  Chunked ") + content)
        assert client.answer()[0] == 200


def test_trailers_are_no_headers(patient: Front) -> None:
    """A trailer that came in the same packet as its head would have counted as one of these."""
    content = b'{"timestamp": 1, "payload": {"timestamp": "t"}}'
    chunks = b"%x\r\n%s\r\n0\r\nX-Webhook-Event-Type: NONSENSE\r\n\r\n" % (len(content), content)
    with patient.raw() as client:
        status, answer = client.send(BODIES["no chunk"] + chunks).answer()
        assert (status, b"eventType is required" in answer) == (422, True)


def test_a_request_before_the_answer_ends_the_connection_after_it(patient: Front) -> None:
    with patient.raw() as client:
        answers = client.send(get("/readyz") * 3).rest()
    assert answers.count(b"HTTP/1.1 200") == 1
    assert answers.endswith(b'{"status":"ready"}')


@pytest.mark.long
def test_who_does_not_read_its_answer_is_ended(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    """As many answers of 60 KB as the kernel takes for a client that reads none, and one more.

    Its time is long enough that between two requests it is never one that has nothing to say.
    """
    front = start(spawn, database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="4")
    ended = 'service_connections_ended_total{reason="answer_not_read"}'
    answered = 'service_requests_total{method="GET",route="/openapi.json",status="200"}'

    with front.raw(receive_buffer=4096) as client:
        for number in range(1, 300):
            client.send_for(get("/openapi.json"), 5)

            def moved(number: int = number) -> None:
                assert front.metric(answered) == number or front.metric(ended) == 1

            eventually(moved, 20)
            if front.metric(ended):
                break
        assert front.metric(ended) == 1
        eventually(lambda: only_ours(front))


@pytest.mark.long
def test_half_requests_do_not_hold_up_the_stop(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    front = start(spawn, database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="300")
    halves = {**HEADS, **BODIES}
    with ExitStack() as stack:
        for half in ("nothing", "half a header", "half a body", "no last chunk") * 5:
            stack.enter_context(front.raw()).send(halves[half])
        assert front.status() == 200
        os.kill(front.program.pid, signal.SIGTERM)
        assert front.program.wait(10) == 0
