"""Through the operator's proxy: endpoints are reached by addresses that were checked here."""

import base64
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import uvloop

from relay.push.http.answer import Answer
from relay.push.http.guard import Guard
from relay.push.http.proxy import Proxy
from tests.relay.push.http.endpoint import OK, endpoint, request
from tests.relay.push.http.requests import LOOPBACK, Client
from tests.relay.push.http.requests import request as small


def answering(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


class Tunnels:
    """A proxy that connects whom it is asked to; `asked` are the heads of its requests."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\nVia: test\r\n\r\n") -> None:
        self.asked: list[str] = []
        self._answer = answer

    def __call__(self, connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        self.asked.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        connection.sendall(self._answer)
        if b" 200 " not in self._answer:
            return
        with socket.create_connection((host, int(port))) as other:
            there = threading.Thread(target=copy, args=(connection, other), daemon=True)
            there.start()
            copy(other, connection)


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65_536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def ask(url: str, proxy_port: int, user: str = "", guard: Guard | None = None) -> Answer:
    async def once() -> Answer:
        proxy = Proxy(urlsplit(f"http://{user}127.0.0.1:{proxy_port}"))
        client = Client(guard or Guard(LOOPBACK), proxy=proxy)
        answer = await client.post(small(url, timeout_seconds=3))
        await client.close()
        return answer

    return uvloop.run(once())


def test_requests_go_through_the_proxy_to_the_address_that_was_checked() -> None:
    tunnels = Tunnels()
    with endpoint(answering) as server, endpoint(tunnels) as proxy:
        assert ask(f"http://127.1:{server.port}/", proxy.port).error is None
    (head,) = tunnels.asked
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: ")


def test_the_proxy_gets_its_credentials_and_the_endpoint_does_not() -> None:
    got: list[bytes] = []

    def note(connection: socket.socket) -> None:
        got.append(request(connection))
        connection.sendall(OK)

    tunnels = Tunnels()
    with endpoint(note) as server, endpoint(tunnels) as proxy:
        assert ask(server.url, proxy.port, "relay:p%40ss@").error is None
    pair = base64.b64encode(b"relay:p@ss").decode()
    assert f"\r\nProxy-Authorization: Basic {pair}\r\n" in tunnels.asked[0]
    assert b"proxy-authorization" not in got[0].lower()


def test_a_proxy_opens_no_way_inside() -> None:
    tunnels = Tunnels()
    with endpoint(answering) as server, endpoint(tunnels) as proxy:
        answer = ask(server.url, proxy.port, guard=Guard([]))
        assert answer.error == "forbidden_address"
    assert tunnels.asked == []


def test_what_the_proxy_can_not_reach_is_the_endpoints_failure() -> None:
    with endpoint(Tunnels(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")) as proxy:
        assert ask("http://127.0.0.1:1025/", proxy.port).error == "connect"


def test_an_endpoint_that_speaks_first_through_the_proxy_has_failed() -> None:
    with endpoint(Tunnels(b"HTTP/1.1 200 Connected\r\n\r\n220 mail.example ESMTP\r\n")) as proxy:
        answer = ask("http://127.0.0.1:1025/", proxy.port)
        assert (answer.error, "ESMTP" in answer.detail) == ("protocol", False)


def test_a_proxy_that_is_away_or_refuses_the_relay_is_no_endpoints_failure() -> None:
    refusals = [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"x" * 10_000,
        b"",
    ]
    for refusal in refusals:
        with endpoint(Tunnels(refusal)) as proxy:
            answer = ask("http://127.0.0.1:1025/", proxy.port)
            assert answer.error == "no_connection", refusal
            assert "SSH" not in answer.detail
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert ask("http://127.0.0.1:1025/", port).error == "no_connection"
