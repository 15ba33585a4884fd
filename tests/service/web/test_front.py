"""The service's sockets before any key: whoever sends halves, floods or nothing is ended in time.

A real process whose bounds are small: a second for each client, forty connections.
"""

import json
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import psycopg
import pytest

from local.program import Program, get_status
from service.platform import keys
from service.web.held_bodies import MAX_HELD_BYTES
from service.web.server.http import MAX_HEAD_BYTES, MAX_HEADERS
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.raw import Raw, get, post
from tests.service.shop import ORDERS, WEBHOOKS

MAX_CONNECTIONS = 40
MEGABYTE = 1_048_576

HEADS = {
    "nothing": b"",
    "line ends": b"\r\n\r\n",
    "half a request line": b"GET /heal",
    "half a header": b"GET /healthz HTTP/1.1\r\nHost: 127",
    "a head without its end": get("/healthz")[:-2],
    "half a webhook's head": post(WEBHOOKS, "Content-Length: 10")[:-1],
    "half a WebSocket's handshake": get("/v1/api/sale/ws", "Upgrade: websocket")[:-2],
}
BODIES = {
    "no body": post(WEBHOOKS, "Content-Length: 10"),
    "half a body": post(WEBHOOKS, "Content-Length: 10") + b"{",
    "no chunk": post(WEBHOOKS, "Transfer-Encoding: chunked"),
    "half a chunk": post(WEBHOOKS, "Transfer-Encoding: chunked") + b"5\r\n{",
    "no last chunk": post(WEBHOOKS, "Transfer-Encoding: chunked") + b"1\r\n{\r\n",
    "half a trailer": post(WEBHOOKS, "Transfer-Encoding: chunked") + b"1\r\n{\r\n0\r\nA:",
    "no body after 100": post(WEBHOOKS, "Content-Length: 10", "Expect: 100-continue"),
}


class Front:
    """The running service, and what it tells about itself."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.port = port

    def raw(self, receive_buffer: int | None = None) -> Raw:
        return Raw(self.port, receive_buffer)

    def status(self, path: str = "/healthz") -> int | None:
        return get_status(f"http://127.0.0.1:{self.port}{path}", timeout_seconds=10)

    def memory(self) -> float:
        return self.metric("process_resident_memory_bytes")

    def metric(self, name: str) -> float:
        """One sample of /metrics, 0 where there is none yet."""
        with self.raw() as client:
            page = client.send(get("/metrics")).answer()[1].decode()
        found = re.search(rf"^{re.escape(name)} (.*)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0


def start(spawn: Spawn, database_url: str, port: int, **settings: str) -> Front:
    program = spawn(
        "outbox-service",
        environment={"DATABASE_URL": database_url, "SERVICE_PORT": str(port), **settings},
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    return Front(program, port)


@pytest.fixture
def front(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Front:
    return start(
        spawn,
        database_url,
        free_port(),
        SERVICE_CLIENT_TIMEOUT_SECONDS="1",
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
    )


@pytest.fixture
def patient(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Front:
    """One that ends nobody for being slow while a test runs."""
    return start(spawn, database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="300")


@pytest.mark.parametrize("half", HEADS)
def test_half_a_head_is_ended_in_time(front: Front, half: str) -> None:
    with front.raw() as client:
        answer = client.send(HEADS[half]).rest()
    if half == "nothing":
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        assert b"connection: close" in answer


@pytest.mark.parametrize("half", BODIES)
def test_half_a_body_is_ended_in_time(front: Front, half: str) -> None:
    with front.raw() as client:
        answer = client.send(BODIES[half]).rest()
    assert b"HTTP/1.1 408 " in answer
    assert b"application/problem+json" in answer


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


@pytest.mark.parametrize(
    ("begun", "more"),
    [
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
    ],
)
def test_a_drip_does_not_keep_a_connection(front: Front, begun: bytes, more: bytes) -> None:
    with front.raw() as client:
        drip(client, endless(begun, more))
        eventually(client.assert_closed)


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


@pytest.mark.parametrize(
    "head",
    [
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
    ],
    ids=range(11),
)
def test_a_head_without_end_is_refused(patient: Front, head: bytes) -> None:
    with patient.raw() as client:
        client.send_for(head, 5)
        answer = client.rest()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"application/problem+json" in answer
    assert patient.metric('service_connections_ended_total{reason="answered_431"}') == 1


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


def test_trailers_are_no_headers(patient: Front) -> None:
    """A trailer that came in the same packet as its head would have counted as one of these."""
    content = b'{"timestamp": 1, "payload": {"timestamp": "t"}}'
    chunks = b"%x\r\n%s\r\n0\r\nX-Webhook-Event-Type: NONSENSE\r\n\r\n" % (len(content), content)
    with patient.raw() as client:
        status, answer = client.send(BODIES["no chunk"] + chunks).answer()
        assert (status, b"eventType is required" in answer) == (422, True)


FLOODS = {
    "pipelined requests": (b"", get("/readyz")),
    "line ends": (b"", b"\r\n"),
    "header": (b"GET / HTTP/1.1\r\nA: ", b"a"),
    "headers": (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
    "chunk extension": (BODIES["no chunk"] + b"1;", b"a"),
    "trailer": (BODIES["half a trailer"], b"a"),
    "trailers": (BODIES["half a trailer"], b"b\r\nA: b"),
    "body of a GET": (get("/healthz", "Content-Length: 1000000000"), b"a"),
    "body beyond its length": (BODIES["half a body"] + b" " * 9, b"a"),
    "body that is too long": (post(WEBHOOKS, "Content-Length: 1000000000"), b"a"),
    "chunks that are too long": (BODIES["no chunk"], b"1\r\n \r\n"),
    "after a bad request": (b"nonsense\r\n", b"a"),
    "upgrade that is none": (get("/readyz", "Connection: upgrade", "Upgrade: h2c"), b"a"),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_costs_no_memory_and_holds_up_nobody(patient: Front, flood: str) -> None:
    """Four connections with 16 MB each, who read nothing."""
    begun, more = FLOODS[flood]
    content = more * (16 * MEGABYTE // len(more))
    assert patient.status() == 200
    before = patient.memory()
    peaks = []
    with ExitStack() as stack:
        threads = [
            threading.Thread(
                target=stack.enter_context(patient.raw()).send(begun).send_for, args=(content, 5)
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert patient.status() == 200
            peaks.append(patient.memory())
    assert max(peaks, default=before) - before < 24 * MEGABYTE


def test_a_request_before_the_answer_ends_the_connection_after_it(patient: Front) -> None:
    with patient.raw() as client:
        answers = client.send(get("/readyz") * 3).rest()
    assert answers.count(b"HTTP/1.1 200") == 1
    assert answers.endswith(b'{"status":"ready"}')


def test_who_does_not_read_its_answer_is_ended(front: Front) -> None:
    """As many answers of 60 KB as the kernel takes for a client that reads none, and one more."""
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


def assert_alive(front: Front) -> None:
    assert front.status() == 200


def only_ours(front: Front) -> None:
    """Nobody is connected but who asks."""
    assert front.metric("service_connections") == 1


def test_half_open_connections_are_ended_though_nothing_else_happens(front: Front) -> None:
    with ExitStack() as stack:
        halves = [HEADS["nothing"], HEADS["half a header"], BODIES["half a body"]]
        for number in range(MAX_CONNECTIONS - 5):
            stack.enter_context(front.raw()).send(halves[number % 3])
        eventually(lambda: only_ours(front), 20)
    lines = [json.loads(line) for line in front.program.output().splitlines()]
    ended = [line for line in lines if line["event"] == "connections ended"]
    assert sum(line.get("nothing_sent", 0) for line in ended) >= 10


@pytest.mark.parametrize("half", [*HEADS, *BODIES])
def test_three_hundred_half_open_connections_keep_nobody_out(
    spawn: Spawn, database_url: str, free_port: Callable[[], int], half: str
) -> None:
    """Many more than there may be, none of them old enough to be ended for its age."""
    front = start(
        spawn,
        database_url,
        free_port(),
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
        SERVICE_CLIENT_TIMEOUT_SECONDS="300",
    )
    content = {**HEADS, **BODIES}[half]
    with ExitStack() as stack:
        for number in range(300):
            stack.enter_context(front.raw()).send_for(content, 5)
            if number % 20 == 0:
                assert (front.status("/healthz"), front.status("/readyz")) == (200, 200)
        assert (front.status("/healthz"), front.status("/readyz")) == (200, 200)
        assert front.metric("service_connections") <= MAX_CONNECTIONS + 1
    name = 'service_connections_ended_total{reason="too_many_connections"}'
    assert front.metric(name) >= 300 - MAX_CONNECTIONS


def test_a_request_that_is_worked_on_is_not_ended_for_a_newcomer(
    front: Front, database_url: str
) -> None:
    """A check for readiness waits on the database while strangers come."""
    order = b'{"timestamp": 1, "eventType": "ATTEMPT_SUCCESS", "payload": {"timestamp": "t"}}'
    with front.raw() as client, ExitStack() as stack:
        client.send(post(WEBHOOKS, f"Content-Length: {len(order)}") + order[:-1])
        for _ in range(MAX_CONNECTIONS - 5):
            stack.enter_context(front.raw())
        client.send(order[-1:])
        assert client.answer()[0] == 200


def test_requests_that_all_wait_for_the_database_keep_no_newcomer_out(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    """More than there may be connections, none of which waits for its client."""
    front = start(spawn, database_url, free_port(), SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS))
    order = get(f"{ORDERS}/00000000-0000-4000-8000-000000000000")
    with psycopg.connect(database_url) as holder, ExitStack() as stack:
        holder.execute("lock table sale.sale_order in access exclusive mode")
        for _ in range(MAX_CONNECTIONS + 20):
            stack.enter_context(front.raw()).send(order)
            assert front.status("/healthz") == 200
        assert front.metric("service_connections") <= MAX_CONNECTIONS + 2
    name = 'service_connections_ended_total{reason="too_many_requests"}'
    assert front.metric(name) >= 10


def test_few_descriptors_are_enough_to_answer(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    """More clients than the process may open files: it takes as many as it can, and says so."""
    port = free_port()
    front = start(spawn, database_url, port, SERVICE_CLIENT_TIMEOUT_SECONDS="300")
    resource.prlimit(front.program.pid, resource.RLIMIT_NOFILE, (60, 60))
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(front.raw())
    # Nobody could be taken beyond the sixty; now that they are gone, everybody can.
    eventually(lambda: assert_alive(front))
    used = front.metric("process_cpu_seconds_total")
    time.sleep(1)
    assert front.metric("process_cpu_seconds_total") - used < 0.5


def test_half_sent_bodies_of_strangers_keep_no_body_of_a_key_out(
    patient: Front, database_url: str
) -> None:
    """More of them than is held, and each is smaller than the one that comes with a key."""
    with psycopg.connect(database_url, autocommit=True) as database:
        key = keys.create(database, "publisher", ["publish"], None, None)
    half = post(WEBHOOKS, "Content-Length: 200000") + b" " * 120_000
    message = {"channelId": "c", "type": "t", "payload": {"text": "a" * 150_000}}
    refused = f'service_requests_total{{method="POST",route="{WEBHOOKS}",status="503"}}'
    with ExitStack() as stack:
        for _ in range(MAX_HELD_BYTES // 120_000 + 100):
            stack.enter_context(patient.raw()).send(half)
        eventually(lambda: _is(patient.metric(refused) > 0))
        for _ in range(10):
            answer = httpx2.post(
                f"http://127.0.0.1:{patient.port}/v1/messages",
                json=message,
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            )
            assert answer.status_code == 201, answer.text


def _is(condition: bool) -> None:
    assert condition


@pytest.mark.parametrize("half", ["nothing", "half a header", "half a body", "no last chunk"])
def test_half_requests_do_not_hold_up_the_stop(patient: Front, half: str) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(patient.raw()).send({**HEADS, **BODIES}[half])
        assert patient.status() == 200
        os.kill(patient.program.pid, signal.SIGTERM)
        assert patient.program.wait(10) == 0
