"""The service's sockets before any key: floods and crowds keep no other client out."""

import json
import resource
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx2
import psycopg
import pytest

from service.platform import keys
from service.web.bodies.held_bodies import MAX_HELD_BYTES
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.raw import get, post
from tests.service.shop import ORDERS, WEBHOOKS
from tests.service.web.front import (
    BODIES,
    HEADS,
    MAX_CONNECTIONS,
    MEGABYTE,
    Front,
    assert_alive,
    only_ours,
    start,
)

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
def test_a_flood_costs_no_memory_and_delays_no_other(patient: Front, flood: str) -> None:
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


@pytest.mark.long
def test_half_open_connections_are_ended_though_nothing_else_happens(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    front = start(
        spawn,
        database_url,
        free_port(),
        SERVICE_CLIENT_TIMEOUT_SECONDS="1",
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
    )
    with ExitStack() as stack:
        halves = [HEADS["nothing"], HEADS["half a header"], BODIES["half a body"]]
        for number in range(MAX_CONNECTIONS - 5):
            stack.enter_context(front.raw()).send(halves[number % 3])
        eventually(lambda: only_ours(front), 20)
    lines = [json.loads(line) for line in front.program.output().splitlines()]
    ended = [line for line in lines if line["event"] == "connections ended"]
    assert sum(line.get("nothing_sent", 0) for line in ended) >= 10


@pytest.mark.parametrize("halves", [HEADS, BODIES], ids=["heads", "bodies"])
def test_three_hundred_half_open_connections_keep_no_other_client_out(
    spawn: Spawn, database_url: str, free_port: Callable[[], int], halves: dict[str, bytes]
) -> None:
    """Of each kind more than there may be, none of them old enough to be ended for its age."""
    front = start(
        spawn,
        database_url,
        free_port(),
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
        SERVICE_CLIENT_TIMEOUT_SECONDS="300",
    )
    each = MAX_CONNECTIONS + 5
    with ExitStack() as stack:
        for half, content in halves.items():
            for number in range(each):
                stack.enter_context(front.raw()).send_for(content, 5)
                if number % 20 == 0:
                    assert (front.status("/healthz"), front.status("/readyz")) == (200, 200), half
            assert (front.status("/healthz"), front.status("/readyz")) == (200, 200), half
        assert front.metric("service_connections") <= MAX_CONNECTIONS + 1

    def counted() -> None:
        name = 'service_connections_ended_total{reason="too_many_connections"}'
        assert front.metric(name) >= len(halves) * each - MAX_CONNECTIONS

    eventually(counted)


def test_a_request_that_is_worked_on_is_not_ended_for_a_newcomer(front: Front) -> None:
    """A check for readiness waits on the database while unauthenticated clients come."""
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
    # The service took no connection beyond the sixty; now that they are gone, it takes all.
    eventually(lambda: assert_alive(front))
    used = front.metric("process_cpu_seconds_total")
    time.sleep(1)
    assert front.metric("process_cpu_seconds_total") - used < 0.5


def test_half_sent_bodies_without_a_key_keep_no_body_of_a_key_out(
    patient: Front,
) -> None:
    """More of them than is held, and each is smaller than the one that comes with a key."""
    with psycopg.connect(patient.database_url, autocommit=True) as database:
        key = keys.create(database, "publisher", ["publish"], None, None)
    half = post(WEBHOOKS, "Content-Length: 200000") + b" " * 120_000
    message = {"channelId": "c", "type": "t", "payload": {"text": "a" * 150_000}}
    refused = f'service_requests_total{{method="POST",route="{WEBHOOKS}",status="503"}}'
    before = patient.metric(refused)
    with ExitStack() as stack:
        for _ in range(MAX_HELD_BYTES // 120_000 + 100):
            stack.enter_context(patient.raw()).send(half)
        eventually(lambda: _is(patient.metric(refused) > before))
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
