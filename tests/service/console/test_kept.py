"""Figures that all pages show: one key's crowd does not keep them from the others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from service.console.kept import Kept
from service.database.pool import Database
from service.fair_turns import asks_for
from service.settings import Settings

FIGURES = "figures"


class Reachable(Database):
    """One that answers at once to whoever has a turn."""

    async def run(self, work: Callable[[Any], Awaitable[Any]], **_: Any) -> Any:
        return await work(None)


class Shown(Kept[str]):
    kept_seconds = 60.0
    timeout_seconds = 1.0


async def _read(_: object) -> str:
    return FIGURES


def test_they_are_read_though_all_turns_of_who_asks_first_are_taken() -> None:
    async def ask() -> str | None:
        database = Reachable(Settings(database_url="postgresql://nowhere", pool_size=8))
        asks_for.set("key crowd")
        await database._walks.take("key crowd")
        async with asyncio.timeout(1):
            return await Shown(database, _read).now()

    assert asyncio.run(ask()) == FIGURES
