"""The customers: they order, some change their mind, and each asks until there is an answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import httpx2
import msgspec

from demo.saga.purchases import Purchase
from demo.waiting import until

REQUEST_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 0.15
GIVE_UP_SECONDS = 60.0
# So often somebody comes, unless so many orders are under way: a slow machine is not swamped.
ARRIVAL_SECONDS = 0.07
MAX_PENDING = 30
# After that nobody comes any more, so that the demo ends in time on a slow machine as well.
OPEN_SECONDS = 50.0


class NotServed(Exception):
    """The shop answered what no customer expects; carries its answer."""


class Customers:
    """`purchases` is what they would buy, `ordered` that of it whose order was taken.

    Who cancelled was told `in_time` or `too_late`.
    `have_gone`: nobody comes any more, and nobody cancels.
    """

    def __init__(self, url: str, purchases: Sequence[Purchase]) -> None:
        self.ordered: list[Purchase] = []
        self.in_time: set[UUID] = set()
        self.too_late: set[UUID] = set()
        self.have_gone = False
        self._url = url
        self.purchases = purchases
        self._http = httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def shop(self, pending: Callable[[], int]) -> None:
        """All of them, one after the other; `pending` says how many orders are under way.

        Raises NotServed, in an ExceptionGroup.
        """
        closes_at = time.monotonic() + OPEN_SECONDS

        async def has_room() -> bool:
            return pending() < MAX_PENDING or time.monotonic() > closes_at

        async with asyncio.TaskGroup() as minds:
            for purchase in self.purchases:
                await until(has_room)
                if time.monotonic() > closes_at:
                    break
                await self._ask("/orders", msgspec.json.encode(purchase.order))
                self.ordered.append(purchase)
                if purchase.cancels_after_seconds is not None:
                    after = purchase.cancels_after_seconds
                    minds.create_task(self._change_mind(purchase.order.id, after))
                await asyncio.sleep(ARRIVAL_SECONDS)
        self.have_gone = True

    async def _change_mind(self, order_id: UUID, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        status = await self._ask(f"/orders/{order_id}/cancel", b"")
        (self.too_late if status == 409 else self.in_time).add(order_id)

    async def _ask(self, path: str, body: bytes) -> int:
        """The status of the answer, as soon as there is one. Raises NotServed."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = await self._http.post(self._url + path, content=body)
            except httpx2.TransportError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status_code in (200, 201, 409):
                return answer.status_code
            if answer.status_code < 500:
                raise NotServed(f"{path}: {answer.status_code} {answer.text}")
            await asyncio.sleep(RETRY_SECONDS)
        raise NotServed(f"{path}: no answer within {GIVE_UP_SECONDS:.0f} s")
