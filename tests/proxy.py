"""A TCP proxy that cuts, stalls or slows the wire, on demand or at a given word."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

BYTES = 65_536


class Proxy:
    """Stands before one server on 127.0.0.1; a context manager.

    `watch` sees all that a client sends before it goes on; it may `cut()`, or `mute()` the answers.
    `hear` sees all that the server answers before it goes on; it may `cut()`, and nothing does.
    """

    def __init__(self, port: int) -> None:
        self.watch: Callable[[bytes], object] = lambda _: None
        self.hear: Callable[[bytes], object] = lambda _: None
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._hears = threading.Event()
        self._hears.set()
        self._bytes_per_second: float | None = None
        # Set while nothing slows the wire: it wakes what waits for its turn.
        self._fast = threading.Event()
        self._fast.set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # On Linux a close alone does not wake the thread that waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.flow()

    def url(self, url: str) -> str:
        """The same URL, by way of this proxy."""
        parts = urlsplit(url)
        user = f"{parts.username}@" if parts.username else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Closes every connection at both ends, at once."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def switch(self, port: int) -> None:
        """New connections go to another server; those that are open stay where they are."""
        self._target = port

    def mute(self) -> None:
        """Lets requests through and holds every answer back."""
        self._hears.clear()

    def stall(self) -> None:
        """Holds everything back, in both directions."""
        self._open.clear()
        self._hears.clear()

    def slow(self, bytes_per_second: float) -> None:
        """Lets so much through in each direction of each connection."""
        self._bytes_per_second = bytes_per_second
        self._fast.clear()

    def flow(self) -> None:
        """Lets everything through again, what was held back first."""
        self._bytes_per_second = None
        self._fast.set()
        self._open.set()
        self._hears.set()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()  # The server is down: its clients shall see that, and may return.
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, gate in [
                (client, server, self._open),
                (server, client, self._hears),
            ]:
                is_client = source is client
                threading.Thread(
                    target=self._carry, args=[source, sink, gate, is_client], daemon=True
                ).start()

    def _carry(
        self, source: socket.socket, sink: socket.socket, gate: threading.Event, is_client: bool
    ) -> None:
        with suppress(OSError), source:
            while data := source.recv(BYTES):
                if is_client:
                    self.watch(data)
                else:
                    self.hear(data)
                gate.wait()
                self._pass_on(data, sink)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)

    def _pass_on(self, data: bytes, sink: socket.socket) -> None:
        while data:
            rate = self._bytes_per_second
            # A tenth of a second's worth at a time, so that a small answer is not late by much.
            size = len(data) if rate is None else max(1, int(rate / 10))
            sink.sendall(data[:size])
            if rate is not None:
                self._fast.wait(len(data[:size]) / rate)
            data = data[size:]
