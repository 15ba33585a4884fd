"""Asking a relay's status server."""

from collections.abc import Callable
from http.client import HTTPConnection

from relay.monitoring.server import StatusServer
from relay.monitoring.telemetry import Telemetry

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"

Serve = Callable[[str, Telemetry], StatusServer]


def get(server: StatusServer, path: str, method: str = "GET") -> tuple[int, str]:
    return ask(server.port, path, method)


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
