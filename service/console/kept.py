"""What all pages show alike: read when one of them asks, and then it stands for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.database.pool import Database
from service.database.transaction import Transaction
from service.fair_turns import asks_for
from service.problems import Problem

Figures = TypeVar("Figures")

# It is read for all, so whose page asks first is nobody's turn: who keeps all of their own turns
# busy would hold everybody's pages up with theirs.
NAME = "the pages"


class Kept(Generic[Figures]):
    """Figures of one database: read anew by the first page that asks `kept_seconds` after the last.

    A read that takes longer than `timeout_seconds` is given up.
    """

    kept_seconds: float
    timeout_seconds: float

    def __init__(
        self, database: Database, read: Callable[[Transaction], Awaitable[Figures]]
    ) -> None:
        self._database = database
        self._read = read
        self._reading = asyncio.Lock()
        self._kept: Figures | None = None
        self._kept_until = float("-inf")

    async def now(self) -> Figures | None:
        """None: the database had no time for it; then pages are shown without."""
        async with self._reading:
            if time.monotonic() >= self._kept_until:
                self._kept = await self._anew()
                self._kept_until = time.monotonic() + self.kept_seconds
            return self._kept

    async def _anew(self) -> Figures | None:
        token = asks_for.set(NAME)
        try:
            return await self._database.walk(self._read, timeout_seconds=self.timeout_seconds)
        except Problem:
            return None
        finally:
            asks_for.reset(token)
