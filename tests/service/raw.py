"""A client that speaks to a port byte by byte, as no HTTP library would."""

import socket
from contextlib import suppress
from types import TracebackType
from typing import Self


class Raw:
    """One TCP connection to 127.0.0.1."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(20)
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, content: bytes) -> Self:
        """Raises OSError where the other side has closed, or takes nothing for 20 s."""
        self._socket.sendall(content)
        return self

    def send_for(self, content: bytes, seconds: float) -> bool:
        """Sends all that is taken within that time for each part; False if not all was."""
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(content)
        except OSError:
            return False
        finally:
            self._socket.settimeout(20)
        return True

    def answer(self) -> tuple[int, bytes]:
        """The status and everything, up to the end of the first answer's body."""
        content = b""
        while b"\r\n\r\n" not in content:
            content += self._receive()
        head = content.partition(b"\r\n\r\n")[0].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(content) < len(head) + 4 + length:
            content += self._receive()
        return int(content.split(b" ", 2)[1]), content

    def _receive(self) -> bytes:
        received = self._socket.recv(65_536)
        if not received:
            raise ConnectionError("closed before the end of an answer")
        return received

    def some(self) -> bytes:
        """Whatever comes next. Raises ConnectionError at the end."""
        return self._receive()

    def rest(self) -> bytes:
        """Everything until the other side closes, orderly or not; TimeoutError after 20 s."""
        content = b""
        with suppress(ConnectionError):
            while received := self._socket.recv(65_536):
                content += received
        return content

    def is_open(self) -> bool:
        """False as soon as the other side has closed. What it sent is lost."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(65_536):
                pass
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            self._socket.settimeout(20)
        return False

    def assert_closed(self) -> None:
        assert not self.is_open()


def get(path: str, *headers: str) -> bytes:
    """A request, to be sent as it is or in parts."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def post(path: str, *headers: str) -> bytes:
    """The head of a request with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
