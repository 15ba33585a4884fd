"""A real process whose bounds are small, and what is sent to it by halves."""

import re

from local.program import Program, get_status
from tests.conftest import Spawn
from tests.service.raw import Raw, get, post
from tests.service.shop import WEBHOOKS

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

    def __init__(self, program: Program, port: int, database_url: str) -> None:
        self.program = program
        self.port = port
        self.database_url = database_url

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
    return Front(program, port, database_url)


def assert_alive(front: Front) -> None:
    assert front.status() == 200


def only_ours(front: Front) -> None:
    """No client is connected but the one that asks."""
    assert front.metric("service_connections") == 1
