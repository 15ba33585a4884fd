"""From the name in an endpoint to the addresses that it leads to at this moment."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from relay.push.fair_turns import Owner
from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.url import Origin

# Spares the servers of names. A connection lives a little longer, so a name that moves to another
# address is followed within a minute.
CACHE_SECONDS = 10.0

# Look-ups at once, each a thread and a socket of this process that nothing ends before its time;
# and those of one API key, whose endpoints may get new names as fast as it likes.
MAX_LOOK_UPS = 256
MAX_OF_A_KEY = 32
# A server of names may answer with thousands of addresses, and each is checked at every dial.
MAX_ADDRESSES = 16

AddrInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# The shape of socket.getaddrinfo.
LookUp = Callable[..., Sequence[AddrInfo]]
# The name as an origin has it, and its port.
Name = tuple[str, int]


class Asked:
    """A look-up that requests of one owner wait for; it begins when there is a place for it."""

    def __init__(self, origin: Origin, owner: Owner) -> None:
        loop = asyncio.get_running_loop()
        self.origin = origin
        self.owner = owner
        self.begun: asyncio.Future[None] = loop.create_future()
        self.answer: asyncio.Future[Sequence[AddrInfo]] = loop.create_future()
        # How many wait for its beginning.
        self.waiting = 0

    @property
    def name(self) -> Name:
        return self.origin.host, self.origin.port


class Resolver:
    """Looks names up, each in a thread of its own; used on one event loop.

    Neither the loop's threads nor those of uvloop serve: a few names whose servers hang would keep
    all other endpoints from being found. They are daemons, since nothing ends a look-up and the
    process has to end in time. Of each owner one look-up at a time of each name.
    """

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._found: dict[Name, tuple[float, Sequence[AddrInfo]]] = {}
        self._asked: dict[tuple[Name, Owner], Asked] = {}
        self._under_way: Counter[Owner] = Counter()

    async def addresses(self, origin: Origin, owner: Owner, seconds: float) -> Sequence[AddrInfo]:
        """Addresses of an origin, 1 to MAX_ADDRESSES; asked for by an endpoint of `owner`.

        Its caller ends it after `seconds`. Raises Fault `dns` where there is none, and
        NoConnectionError where this machine could not ask, or found no place to within half of
        that time.
        """
        if origin.is_numeric:
            return _numeric(origin)
        found = self._found.get((origin.host, origin.port))
        if found is not None and time.monotonic() < found[0] + CACHE_SECONDS:
            return found[1]
        asked = self._ask(origin, owner)
        try:
            if not asked.begun.done():
                await self._turn(asked, seconds / 2)
            # Shielded: a request that runs out of time leaves the others their answer.
            return await asyncio.shield(asked.answer)
        finally:
            # It holds the fault, whose traceback holds this frame and the request: a circle.
            del asked

    def _ask(self, origin: Origin, owner: Owner) -> Asked:
        asked = Asked(origin, owner)
        known = self._asked.setdefault((asked.name, owner), asked)
        if known is asked and self._has_place(owner):
            self._begin(asked)
        return known

    def _has_place(self, owner: Owner) -> bool:
        if owner is not None and self._under_way[owner] >= MAX_OF_A_KEY:
            return False
        return self._under_way.total() < MAX_LOOK_UPS

    async def _turn(self, asked: Asked, seconds: float) -> None:
        """Waits until it begins; where no request waits any more, it never will."""
        asked.waiting += 1
        try:
            await asyncio.wait([asked.begun], timeout=seconds)
        finally:
            asked.waiting -= 1
            if not asked.waiting and not asked.begun.done():
                del self._asked[asked.name, asked.owner]
        if not asked.begun.done():
            number = self._under_way.total()
            raise NoConnectionError(f"{number} other names are looked up, and not answered")

    def _begin(self, asked: Asked) -> None:
        loop, origin, answer = asyncio.get_running_loop(), asked.origin, asked.answer

        def tell(found: Sequence[AddrInfo] | Fault) -> None:
            if isinstance(found, Fault):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def run() -> None:
            found = _looked_up(self._look_up, origin)
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, found)

        self._under_way[asked.owner] += 1
        asked.begun.set_result(None)
        answer.add_done_callback(lambda _: self._end(asked))
        try:
            threading.Thread(target=run, name=f"look up {origin.host}", daemon=True).start()
        except RuntimeError as error:
            tell(NoConnectionError(f"no thread to look {origin.host} up: {error}"))

    def _end(self, asked: Asked) -> None:
        del self._asked[asked.name, asked.owner]
        self._under_way -= Counter([asked.owner])
        # Also tells asyncio that the fault of a look-up that no request waits for was seen.
        if asked.answer.exception() is None:
            self._forget()
            self._found[asked.name] = time.monotonic(), asked.answer.result()
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Of the owners that wait the one with the fewest under way comes first: those whose names
        hang would else take each place that comes free.
        """
        while waiting := [
            one
            for one in self._asked.values()
            if not one.begun.done() and self._has_place(one.owner)
        ]:
            self._begin(min(waiting, key=lambda one: self._under_way[one.owner]))

    def _forget(self) -> None:
        """Drops what is too old to be used: each change of an endpoint leaves a name behind."""
        now = time.monotonic()
        self._found = {
            name: found for name, found in self._found.items() if now < found[0] + CACHE_SECONDS
        }


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
    return found[:MAX_ADDRESSES] or Fault("dns", f"{origin.host}: no such name")


def _numeric(origin: Origin) -> Sequence[AddrInfo]:
    try:
        return socket.getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except OSError as error:
        raise Fault("dns", f"{origin.host}: {error.strerror}") from error
