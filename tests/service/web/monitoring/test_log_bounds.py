"""Unauthenticated clients decide neither how fast the log grows nor what it says of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from service.app import create_app
from service.process import logs
from service.settings import Settings
from service.web.monitoring import refusals
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS, Platform
from tests.service.raw import get
from tests.service.shop import ORDERS, WEBHOOKS, Shop, event
from tests.service.web.front import Front, start
from tests.service.web.server.test_front_sockets import TEXT, frame, handshake

LONG = "x" * 30_000
WORD = "x" * 200
LINE = 4096
FLOOD = refusals.MAX_LINES * 3


@pytest.fixture
def front(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Front:
    return start(spawn, database_url, free_port())


def lines(front: Front) -> list[dict[str, Any]]:
    return [json.loads(line) for line in front.program.output().splitlines()]


def told(front: Front, path: str) -> None:
    """Until the log has this request: what came before it is there, too."""
    front.status(path)

    def is_there() -> None:
        assert any(path in line.get("path", "") for line in lines(front))

    eventually(is_there)


@pytest.mark.long
@pytest.mark.parametrize(
    "request_head",
    [
        get(f"/{LONG}"),
        get(f"/{'%01' * 10_000}"),
        get(f"/{'%F0%9F%98%80' * 2500}"),
        get(f"/openapi.json/{LONG}?{LONG[:1000]}"),
        get("/nowhere", f"Host: {LONG}").replace(b"Host: 127.0.0.1\r\n", b""),
        handshake(LONG[:7000]),
        handshake("x").replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"none" * 1000),
        handshake("x").replace(b"Version: 13", b"Version: " + b"7" * 7000),
    ],
    ids=["path", "escapes", "wide", "query", "host", "socket", "handshake", "version"],
)
def test_no_word_of_a_client_makes_a_line_long(front: Front, request_head: bytes) -> None:
    with front.raw() as client:
        client.send(request_head).some()
    told(front, "/marker")
    assert max(map(len, front.program.output().splitlines())) < LINE
    assert not any("traceback" in json.dumps(line).lower() for line in lines(front))


WRITE = """
import logging, structlog
from service.process import logs
logs.configure()
log = structlog.get_logger()
long = 30_000 * "x"
log.info(long, event_type=long, amount=1, order=None)
try:
    raise ValueError(long)
except ValueError:
    log.exception("fault", reason="short")
    logging.getLogger("anybody").exception("%s", long)
"""


def test_each_word_of_a_line_is_cut_and_a_traceback_too() -> None:
    """The log as the running service writes it, by whatever library."""
    output = subprocess.run(
        [sys.executable, "-c", WRITE], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    first, second, third = map(json.loads, output.splitlines())
    assert (first["amount"], first["order"], second["reason"]) == (1, None, "short")
    for line in (first, second, third):
        for name, value in line.items():
            most = logs.MAX_TRACEBACK_LENGTH if name == "exception" else logs.MAX_WORD_LENGTH
            assert value is None or len(str(value)) <= most + 1
    for line in (second, third):
        assert line["exception"].startswith("Traceback")


def crowd(client: TestClient) -> None:
    """As many refusals of each kind as would fill a log."""
    for number in range(FLOOD):
        client.get(f"/nowhere/{number}")
        client.get(f"{ORDERS}/{number}")
        client.get("/openapi.json", headers={"Host": f"evil{number}.example"})
        client.request("PATCH", WEBHOOKS)
        client.post(WEBHOOKS, content=b"{}", headers={"Content-Type": "text/plain"})
        client.post(ORDERS, json={"number": number}, headers={"Origin": f"http://{number}"})
        client.get("/openapi.json")


def test_a_crowd_without_keys_writes_a_few_lines_and_how_many_were_left_out(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One second for all of it, however long this machine takes.
    monkeypatch.setattr("service.web.monitoring.refusals.time.monotonic", lambda: 7.0)
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 3600.0)
    settings = Settings(database_url=database_url, pool_size=2, hosts=("shop.example.com",))
    with (
        capture_logs() as written,
        TestClient(
            create_app(settings), base_url="http://shop.example.com", client=("203.0.113.7", 1)
        ) as client,
    ):
        crowd(client)
    requests = [line for line in written if line["event"] == "request"]
    assert len(requests) == refusals.MAX_LINES
    left_out = [line for line in written if line["event"] == "refused"]
    assert {line["address"] for line in left_out} == {"203.0.113.7"}
    assert {line["status"] for line in left_out} == {403, 404, 405, 415, 421}
    assert sum(line["times"] for line in left_out) == 6 * FLOOD - refusals.MAX_LINES


def test_after_a_second_there_are_lines_of_their_own_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 7.0
    monkeypatch.setattr("service.web.monitoring.refusals.time.monotonic", lambda: now)
    room = refusals.Lines()
    assert sum(room.take() for _ in range(FLOOD)) == refusals.MAX_LINES
    now = 8.0
    assert sum(room.take() for _ in range(FLOOD)) == refusals.MAX_LINES


def test_requests_with_a_key_are_told_line_by_line(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = platform.key("read")
    monkeypatch.setattr("service.web.monitoring.refusals.time.monotonic", lambda: 7.0)
    with capture_logs() as written:
        for number in range(FLOOD):
            platform.http.get("/nowhere")
            platform.http.get(f"{SUBSCRIPTIONS}/{number + 10**9}", headers=headers)
    kept = [line for line in written if line.get("path", "").startswith(SUBSCRIPTIONS)]
    assert len(kept) == FLOOD


def test_what_succeeds_is_told_line_by_line(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.web.monitoring.refusals.time.monotonic", lambda: 7.0)
    order = shop.processing_order()
    with capture_logs() as written:
        for _ in range(FLOOD):
            shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="1"))
    assert len([line for line in written if line.get("path") == WEBHOOKS]) == FLOOD


def test_an_event_that_was_not_applied_is_told_in_a_few_words_of_its_own(shop: Shop) -> None:
    """Without a signature anybody writes them."""
    order = str(uuid4())
    taken = event("ATTEMPT_SUCCESS", order=order, paid="1", attempt_id=WORD, transaction_id=WORD)
    with capture_logs() as written:
        shop.send(taken)
        shop.send({**taken, "eventType": WORD})
    refused = [line for line in written if line["event"] == "not acknowledged"]
    assert [line.get("target_id") for line in refused] == [order, order]
    assert max(len(json.dumps(line)) for line in refused) < 600


def test_a_crowd_of_websockets_writes_a_few_lines(front: Front) -> None:
    for number in range(FLOOD):
        for head in (
            handshake(f"{number}"),
            handshake("x").replace(b"/v1/api/sale/ws", b"/nowhere"),
            handshake("x").replace(b"Version: 13", b"Version: 7"),
        ):
            with front.raw() as client:
                client.send(head).some()

    def counted() -> None:
        times = sum(line.get("times", 1) for line in lines(front) if line.get("status", 0) >= 400)
        # The library itself refuses the third kind, without a word to us.
        assert times == 2 * FLOOD

    eventually(counted)
    seconds = {line["timestamp"][:19] for line in lines(front)}
    assert len(lines(front)) < 40 + (refusals.MAX_LINES * 2 + 2) * (len(seconds) + 1)


@pytest.mark.long
def test_a_websocket_that_is_taken_is_one_line_whatever_it_sends(
    front: Front, database: psycopg.Connection[Any]
) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{front.port}") as http:
        order_id = str(Shop(http, database).order()["id"])
    with front.raw() as client:
        client.send(handshake(order_id) + frame(TEXT, b"\xff" * 100)).some()
        told(front, "/marker")
    sockets = [line for line in lines(front) if line.get("method") == "WEBSOCKET"]
    assert [(line["path"], line["status"]) for line in sockets] == [("/v1/api/sale/ws", 101)]
    assert "Traceback" not in front.program.output()
