"""Whose body is decoded next: meanwhile the event loop does nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from service.database.pool import Database
from service.fair_turns import Turns, asks_for

# Decoding so much takes no longer than the rest of a request does, a quarter of a millisecond at
# most, and makes some tens of kilobytes of it.
SMALL_BYTES = 4096

Decoded = TypeVar("Decoded")


class Decoding:
    """Larger bodies are decoded one at a time, and those of each sender in turn.

    After each the loop has as much time for everything else as that one took. And each has its
    turn at the database before: what is decoded takes up many times the memory of its bytes, so it
    waits for nothing but its own statements. Sender is who `asks_for` it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = Turns(1, kept=0)

    @asynccontextmanager
    async def begin(
        self, body: bytes, decode: Callable[[bytes], Decoded]
    ) -> AsyncIterator[Decoded]:
        """What `decode` makes of a body, and what it raises; the turn ends with the block.

        Raises Problem 503 where the turn does not come in time.
        """
        if len(body) <= SMALL_BYTES:
            yield decode(body)
            return
        async with self._database.turn():
            yield await self._decode(body, decode)

    async def _decode(self, body: bytes, decode: Callable[[bytes], Decoded]) -> Decoded:
        name = asks_for.get()
        await self._turns.take(name)
        started = time.perf_counter()
        try:
            return decode(body)
        finally:
            elapsed = time.perf_counter() - started
            asyncio.get_running_loop().call_later(elapsed, self._turns.end, name)
