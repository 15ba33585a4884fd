"""What goes wrong at the subscribers: an outage of one, and an order that another can't take."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2

from demo.fleet import Fleet
from demo.scene import Scene
from demo.subscriptions import FAILING, REFUSING, Subscriptions
from demo.waiting import until

# When, by how many of the orders are through. Early, so that all of it happens on a slow machine
# as well; and while a breaker is open, others have to be seen at work.
FAILS_AFTER, IS_MENDED_AFTER, REDRIVEN_AFTER = 0.1, 0.4, 0.6
IS_OPEN_FOR = 0.1

WAIT_SECONDS = 30.0
REQUEST_TIMEOUT_SECONDS = 5.0


async def fail_for_a_while(scene: Scene, subscriptions: Subscriptions) -> None:
    """FAILING answers 500, until its breaker has opened at least. Raises TimeoutError."""
    await _orders(scene, FAILS_AFTER)
    await _set_fault(scene.fleet, FAILING, True)
    scene.tell(f"{FAILING} answers 500 to everything")

    async def is_open() -> bool:
        return await subscriptions.breaker(FAILING) != "closed"

    await _wait(is_open, f"{FAILING}'s breaker did not open")
    scene.tell(f"{FAILING}'s breaker is open")
    share = scene.provider.calls.stories_done / scene.orders
    await _orders(scene, max(IS_MENDED_AFTER, share + IS_OPEN_FOR))
    await _set_fault(scene.fleet, FAILING, False)
    scene.tell(f"{FAILING} is repaired")


async def redrive_the_poisoned(scene: Scene, subscriptions: Subscriptions) -> None:
    """Once REFUSING has used up its attempts it is repaired, and gets it again.

    Raises TimeoutError.
    """

    async def is_dead() -> bool:
        return bool(await subscriptions.dead_letters(REFUSING))

    await _orders(scene, REDRIVEN_AFTER)
    await _wait(is_dead, f"{REFUSING} has no dead letter")
    await _set_fault(scene.fleet, REFUSING, False)
    await subscriptions.redrive(REFUSING)
    scene.tell(f"{REFUSING} is repaired, its dead letter redriven")


async def _orders(scene: Scene, share: float) -> None:
    """Waits until this share of the orders is through, or no more begin."""

    async def are_through() -> bool:
        return bool(scene.played) or scene.provider.calls.stories_done >= share * scene.orders

    await until(are_through)


async def _wait(happened: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await until(happened)
    except TimeoutError:
        raise TimeoutError(f"{otherwise} within {WAIT_SECONDS:.0f} s") from None


async def _set_fault(fleet: Fleet, subscriber: str, faulty: bool) -> None:
    url = f"{fleet.subscriber_urls[subscriber]}/fault"
    async with httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False) as http:
        (await http.put(url, json=faulty)).raise_for_status()
