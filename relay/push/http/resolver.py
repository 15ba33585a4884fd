"""From the name in an endpoint to the addresses that it leads to at this moment."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.url import Origin

# Spares the servers of names. A connection lives a little longer, so a name that moves to another
# address is followed within a minute.
CACHE_SECONDS = 10.0

AddrInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# The shape of socket.getaddrinfo.
LookUp = Callable[..., Sequence[AddrInfo]]


class Resolver:
    """Looks names up, each in a thread of its own; used on one event loop.

    Neither the loop's threads nor those of uvloop serve: a few names whose servers hang would keep
    all other endpoints from being found. One look-up at a time of each name bounds the threads.
    They are daemons, since nothing ends a look-up and the process has to end in time.
    """

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._found: dict[tuple[str, int], tuple[float, Sequence[AddrInfo]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[AddrInfo]]] = {}

    async def addresses(self, origin: Origin) -> Sequence[AddrInfo]:
        """All addresses of an origin, at least one.

        Raises Fault `dns` where there is none, NoConnectionError where this machine could not ask.
        """
        if origin.is_numeric:
            return _numeric(origin)
        key = (origin.host, origin.port)
        found = self._found.get(key)
        if found is not None and time.monotonic() < found[0] + CACHE_SECONDS:
            return found[1]
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = self._ask(origin)
            asked.add_done_callback(lambda done: self._note(key, done))
        # Shielded: whoever runs out of time leaves the others their answer.
        try:
            return await asyncio.shield(asked)
        finally:
            # It holds the fault, whose traceback holds this frame and the request: a circle.
            del asked

    def _forget(self) -> None:
        """Drops what is too old to be used: whoever changes an endpoint leaves names behind."""
        now = time.monotonic()
        self._found = {
            key: found for key, found in self._found.items() if now < found[0] + CACHE_SECONDS
        }

    def _note(self, key: tuple[str, int], done: asyncio.Future[Sequence[AddrInfo]]) -> None:
        del self._asked[key]
        # Also tells asyncio that the fault of a look-up that nobody waits for any more was seen.
        if not done.cancelled() and done.exception() is None:
            self._forget()
            self._found[key] = time.monotonic(), done.result()

    def _ask(self, origin: Origin) -> asyncio.Future[Sequence[AddrInfo]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[AddrInfo]] = loop.create_future()

        def tell(found: Sequence[AddrInfo] | Fault) -> None:
            if answer.done():
                return
            if isinstance(found, Fault):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def run() -> None:
            found = _looked_up(self._look_up, origin)
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, found)

        try:
            threading.Thread(target=run, name=f"look up {origin.host}", daemon=True).start()
        except RuntimeError as error:
            raise NoConnectionError(f"no thread to look {origin.host} up: {error}") from error
        return answer


def _looked_up(look_up: LookUp, origin: Origin) -> Sequence[AddrInfo] | Fault:
    try:
        found = look_up(
            origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except socket.gaierror as error:
        if error.errno in (socket.EAI_MEMORY, socket.EAI_SYSTEM):
            return NoConnectionError(f"{origin.host} could not be looked up: {error.strerror}")
        return Fault("dns", f"{origin.host}: {error.strerror}")
    except UnicodeError:
        # A label that is empty or too long never gets as far as a server of names.
        found = []
    except Exception as error:
        return Fault("dns", f"{origin.host}: {type(error).__name__}")
    return found or Fault("dns", f"{origin.host}: no such name")


def _numeric(origin: Origin) -> Sequence[AddrInfo]:
    try:
        return socket.getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except OSError as error:
        raise Fault("dns", f"{origin.host}: {error.strerror}") from error
