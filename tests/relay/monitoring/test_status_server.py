"""The status port is open to any client: whatever one sends or leaves out, /healthz is answered."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from prometheus_client.metrics_core import Metric

from local.program import get_status
from relay.monitoring.http_server import Answer, HttpServer, Request
from relay.monitoring.server import StatusServer
from relay.monitoring.telemetry import Telemetry
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.monitoring.serving import NOWHERE
from tests.relay.operating import settings

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READY = GET.replace(b"/healthz", b"/readyz")

HALVES = [b"", b"\r\n", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x", GET[:-2]]


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[StatusServer]:
    """One that waits a second for its clients."""
    yield from serve(free_port(), timeout_seconds=1.0)


@pytest.fixture
def patient(free_port: Callable[[], int]) -> Iterator[StatusServer]:
    yield from serve(free_port(), timeout_seconds=300.0, max_connections=20)


def serve(port: int, **bounds: float) -> Iterator[StatusServer]:
    server = StatusServer(settings(NOWHERE, RELAY_PORT=str(port)), Telemetry(), **bounds)
    yield server
    server.close()


def connected(stack: ExitStack, port: int, content: bytes = b"") -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
    with suppress(OSError):
        client.sendall(content)
    return client


def everything(client: socket.socket) -> bytes:
    """What comes until the other side closes, orderly or not."""
    content = b""
    with suppress(ConnectionError):
        while received := client.recv(65_536):
            content += received
    return content


def health(server: StatusServer) -> int | None:
    return get_status(f"http://127.0.0.1:{server.port}/healthz", timeout_seconds=10)


@pytest.mark.parametrize("half", HALVES)
def test_half_a_request_is_ended_in_time(server: StatusServer, half: bytes) -> None:
    with ExitStack() as stack:
        answer = everything(connected(stack, server.port, half))
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\n"])
def test_a_drip_is_ended_in_time(server: StatusServer, begun: bytes) -> None:
    with ExitStack() as stack:
        client = connected(stack, server.port, begun)

        def closed() -> None:
            with suppress(ConnectionError):
                client.sendall(b"a")
                client.settimeout(0.1)
                try:
                    assert client.recv(1) == b"H"
                except TimeoutError:
                    raise AssertionError("still open") from None

        eventually(closed)


@pytest.mark.parametrize("half", HALVES)
def test_half_requests_keep_no_other_client_out(patient: StatusServer, half: bytes) -> None:
    with ExitStack() as stack:
        for number in range(300):
            connected(stack, patient.port, half)
            if number % 20 == 0:
                assert health(patient) == 200
        assert health(patient) == 200


def test_who_has_asked_is_read_before_it_loses_its_place() -> None:
    """However many connect in the same moment, and whether or not they say anything."""
    held, go_on = threading.Event(), threading.Event()

    def at_once(request: Request) -> Answer:
        if request.path == "/hold":
            held.set()
            go_on.wait(20)
        return Answer(200)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HttpServer(listener, at_once, at_once, lambda _: None, max_connections=20)
    with closing(server), ExitStack() as stack:
        stack.callback(lambda: eventually(lambda: _is(not server._waiting)))
        stack.callback(go_on.set)
        connected(stack, port, b"GET /hold HTTP/1.1\r\n\r\n")
        assert held.wait(20)
        # The kernel takes them all while the loop stands still.
        listener.listen(128)
        asking = connected(stack, port, GET)
        for number in range(100):
            connected(stack, port, HALVES[number % len(HALVES)])
        go_on.set()
        assert everything(asking).startswith(b"HTTP/1.1 200 ")


def test_half_requests_do_not_stop_the_health_of_a_running_relay(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "RELAY_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}/healthz"
    spawn("outbox-relay", "run", environment=environment, ready_url=url)
    with ExitStack() as stack:
        for number in range(300):
            connected(stack, port, HALVES[number % len(HALVES)])
        assert get_status(url) == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 70_000,
        b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000,
        b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"\r\n" * 101 + b"\r\n" * 40_000,
    ],
    ids=range(5),
)
def test_a_head_without_end_is_refused(patient: StatusServer, head: bytes) -> None:
    with ExitStack() as stack:
        answer = everything(connected(stack, patient.port, head))
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("nonsense", 400),
        ("GET", 400),
        ("GET /", 400),
        ("GET / SMTP", 400),
        ("POST /healthz HTTP/1.1", 405),
        ("GET /\xff HTTP/1.1", 404),
        ("GET /healthz?x HTTP/1.1", 200),
    ],
)
def test_odd_requests_are_answered(patient: StatusServer, request_line: str, status: int) -> None:
    with ExitStack() as stack:
        content = f"{request_line}\r\n\r\n".encode("latin-1")
        answer = everything(connected(stack, patient.port, content))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_head_may_come_byte_by_byte(patient: StatusServer) -> None:
    with ExitStack() as stack:
        client = connected(stack, patient.port)
        for byte in GET:
            client.sendall(bytes([byte]))
        assert everything(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("more", [GET, b"\r\n", b"a"])
def test_what_comes_after_a_request_is_dropped(server: StatusServer, more: bytes) -> None:
    with ExitStack() as stack:
        client = connected(stack, server.port, GET)
        with suppress(OSError):
            client.sendall(more * (8_000_000 // len(more)))
        assert everything(client).count(b"HTTP/1.1") == 1
    assert health(server) == 200


def test_who_does_not_read_the_metrics_is_ended(server: StatusServer) -> None:
    for number in range(20_000):
        server._telemetry.fault(f"subscription-{number}", "broker")
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20)
            client.connect(("127.0.0.1", server.port))
            client.sendall(GET.replace(b"/healthz", b"/metrics"))
        eventually(lambda: assert_idle(server), 40)
        assert health(server) == 200


def assert_idle(server: StatusServer) -> None:
    ended = server._telemetry.registry.get_sample_value(
        "outbox_relay_status_connections_ended_total", {"reason": "not_closed"}
    )
    assert (ended, len(server._server._waiting)) == (5, 0)


def test_readiness_that_takes_long_is_asked_for_once_and_delays_no_other_answer(
    patient: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nineteen ask while the database hangs: one thread waits for it, and health is told."""
    hangs, asked = threading.Event(), []

    def fault() -> str | None:
        asked.append(time.monotonic())
        hangs.wait(30)
        return None

    monkeypatch.setattr(patient._readiness, "fault", fault)
    with ExitStack() as stack:
        stack.callback(hangs.set)
        content = GET.replace(b"/healthz", b"/readyz")
        clients = [connected(stack, patient.port, content) for _ in range(19)]
        assert health(patient) == 200
        hangs.set()
        for client in clients[:-1]:
            assert everything(client).startswith(b"HTTP/1.1 200 ")
    assert len(asked) == 1


def test_silent_connections_cost_no_client_the_answer_that_is_being_made(
    patient: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of them, where twenty may be, while the database hangs."""
    hangs, asked = threading.Event(), threading.Event()

    def fault() -> str | None:
        asked.set()
        hangs.wait(30)
        return None

    monkeypatch.setattr(patient._readiness, "fault", fault)
    with ExitStack() as stack:
        stack.callback(hangs.set)
        client = connected(stack, patient.port, READY)
        assert asked.wait(20)
        for _ in range(100):
            connected(stack, patient.port)
        # The last to come is answered, so that all of them have been taken.
        assert health(patient) == 200
        hangs.set()
        assert everything(client).startswith(b"HTTP/1.1 200 ")


def test_metrics_that_are_asked_for_in_many_ways_delay_no_other_answer(
    patient: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names another type that it accepts, while the database hangs: readiness is told."""
    hangs, asked = threading.Event(), []

    def collect() -> list[Metric]:
        asked.append(1)
        hangs.wait(30)
        return []

    monkeypatch.setattr(patient._readiness, "fault", lambda: None)
    monkeypatch.setattr(patient._telemetry.registry, "collect", collect)
    with ExitStack() as stack:
        stack.callback(hangs.set)
        clients = []
        for number in range(16):
            kind = ("text/", "application/openmetrics-text;version=1.0.0,x/")[number % 2]
            accepting = f"/metrics HTTP/1.1\r\nAccept: {kind}{number}".encode()
            content = GET.replace(b"/healthz HTTP/1.1", accepting)
            clients.append(connected(stack, patient.port, content))
        eventually(lambda: _is(len(asked) == 2))
        answer = everything(connected(stack, patient.port, READY))
        assert answer.startswith(b"HTTP/1.1 200 ")
        hangs.set()
        for client in clients:
            assert everything(client).startswith(b"HTTP/1.1 200 ")
    assert len(asked) == 2


def _is(condition: bool) -> None:
    assert condition


def test_a_server_that_is_closed_lets_go_of_its_clients_and_its_port(
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    server = StatusServer(settings(NOWHERE, RELAY_PORT=str(port)), Telemetry())
    with ExitStack() as stack:
        client = connected(stack, port, b"GET")
        assert health(server) == 200
        server.close()
        assert everything(client) == b""
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_answer_whose_maker_is_cancelled_is_made_anew_for_the_next(
    patient: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), []

    def fault() -> str | None:
        asked.append(1)
        hangs.wait(30)
        return f"fault {len(asked)}"

    monkeypatch.setattr(patient._readiness, "fault", fault)
    http = patient._server

    def cancel_all_but_the_servers_own() -> None:
        for task in asyncio.all_tasks(http._loop):
            if "_serve" in repr(task.get_coro()):
                task.cancel()

    def is_asked() -> None:
        assert asked
        assert http._answers

    def is_forgotten() -> None:
        assert not http._answers

    with ExitStack() as stack:
        stack.callback(hangs.set)
        client = connected(stack, patient.port, READY)
        eventually(is_asked)
        http._loop.call_soon_threadsafe(cancel_all_but_the_servers_own)
        assert everything(client) == b""
        eventually(is_forgotten)
        hangs.set()
        assert b"fault 2" in everything(connected(stack, patient.port, READY))


def test_an_answer_for_which_there_is_no_thread_is_503_and_made_anew_for_the_next(
    patient: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client waits for it for ever."""
    monkeypatch.setattr(patient._readiness, "fault", lambda: None)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            for _ in range(3):
                answer = everything(connected(stack, patient.port, READY))
                assert answer.startswith(b"HTTP/1.1 503 ")
        answer = everything(connected(stack, patient.port, READY))
        assert answer.startswith(b"HTTP/1.1 200 ")
