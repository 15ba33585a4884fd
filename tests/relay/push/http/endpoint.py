"""A TCP server on 127.0.0.1 that speaks byte for byte as a test says, a thread a connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Script = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Endpoint:
    """`heads` are those of the requests that came whole, `connections` how many ever were."""

    def __init__(self, server: socket.socket, script: Script) -> None:
        self.port: int = server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections = 0
        self._server = server
        self._script = script

    def serve(self) -> None:
        """Until the server is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._script(connection)


@contextmanager
def endpoint(script: Script) -> Iterator[Endpoint]:
    """Serves while it is entered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Endpoint(server, script)
        threading.Thread(target=made.serve, daemon=True).start()
        yield made
        server.shutdown(socket.SHUT_RDWR)


def request(connection: socket.socket) -> bytes:
    """Reads one request, head and body. Raises ConnectionError where it ends before."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection)
    head = bytes(data[:end]).lower()
    _, _, rest = head.partition(b"\r\ncontent-length: ")
    whole = end + 4 + int(rest.partition(b"\r\n")[0])
    while len(data) < whole:
        data += _more(connection)
    return bytes(data)


def until_closed(connection: socket.socket, timeout_seconds: float = 10.0) -> int:
    """Reads to the end; returns how many bytes came. Raises TimeoutError."""
    connection.settimeout(timeout_seconds)
    size = 0
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            size += len(part)
    return size


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise ConnectionError
    return part
