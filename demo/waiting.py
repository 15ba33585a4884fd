"""Waiting for what happens elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable

LOOK_INTERVAL_SECONDS = 0.1


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again; who has no time for ever puts a timeout around it."""
    while True:
        if await happened():
            return
        await asyncio.sleep(LOOK_INTERVAL_SECONDS)
