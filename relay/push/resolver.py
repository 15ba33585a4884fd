"""From the name in an endpoint to addresses that were looked at before one of them is dialled."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from relay.push.guard import Guard

MOST_LOOK_UPS = 100

AddrInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# The shape of socket.getaddrinfo.
LookUp = Callable[..., Sequence[AddrInfo]]


class ForbiddenAddressError(OSError):
    """The endpoint leads to an address that the guard refuses."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is not public: RELAY_ALLOW_NETWORKS opens networks")


class Resolver(AbstractResolver):
    """Looks names up, each in a thread of its own.

    Neither the loop's threads nor those of uvloop serve: a few names whose servers hang would keep
    all other endpoints from being found. The threads are daemons, since nothing ends a look-up and
    the process has to end in time.
    """

    def __init__(self, guard: Guard, look_up: LookUp) -> None:
        self._guard = guard
        self._look_up = look_up
        self._slots = asyncio.Semaphore(MOST_LOOK_UPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name.

        Raises socket.gaierror where there is none, ForbiddenAddressError where one is refused:
        whoever names a private address beside a public one waits for it to be dialled.
        """
        async with self._slots:
            infos = await self._in_thread(host, port, family)
        for *_, address in infos:
            if not self._guard.allows(address[0]):
                raise ForbiddenAddressError(address[0])
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for family, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Nothing to close."""

    async def _in_thread(self, host: str, port: int, family: int) -> Sequence[AddrInfo]:
        found: Future[Sequence[AddrInfo]] = Future()
        # Nobody takes it back once it runs: who waits may leave, and the answer is dropped.
        found.set_running_or_notify_cancel()

        def run() -> None:
            try:
                found.set_result(
                    self._look_up(
                        host,
                        port,
                        family=family,
                        type=socket.SOCK_STREAM,
                        flags=socket.AI_ADDRCONFIG,
                    )
                )
            except UnicodeError:
                # A label that is empty or too long never gets as far as a server of names.
                found.set_exception(socket.gaierror(socket.EAI_NONAME, "no such name"))
            except Exception as error:
                found.set_exception(error)

        threading.Thread(target=run, name=f"look up {host}", daemon=True).start()
        return await asyncio.wrap_future(found)
