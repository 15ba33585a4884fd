"""The payment provider, and the till in front of it: they call the service, and never give up."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import httpx2
import msgspec

from demo.plan import Ask, Send, Story, Webhook

ORDERS = "/v1/api/sale/orders"
WEBHOOKS = "/v1/api/sale/webhooks/payment"

# Customers in the shop, and requests under way: a slow machine takes longer, but isn't swamped.
MAX_STORIES = 24
# After that no payment begins, so that the demo ends in time on a slow machine as well.
OPEN_SECONDS = 25.0
MAX_REQUESTS = 16
REQUEST_TIMEOUT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 0.8
GIVE_UP_SECONDS = 120.0


class Refused(Exception):
    """The service said no to what it must take; carries its answer."""


class Calls(msgspec.Struct):
    """What the panel shows of the callers."""

    webhooks: int = 0
    retries: int = 0
    stories_begun: int = 0
    stories_done: int = 0


class Provider:
    """Sends to any of the service's processes; what gets no answer goes to another.

    An answer may be lost with a killed process after its transaction was committed, so what is
    sent again may have been applied already. That is the service's to find out.
    """

    def __init__(self, urls: list[str], random: Random) -> None:
        self.calls = Calls()
        self._urls = urls
        self._random = random
        self._requests = asyncio.Semaphore(MAX_REQUESTS)
        self._http = httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)

    async def play(
        self,
        stories: Sequence[Story],
        on_order: Callable[[str], Awaitable[None]],
        on_done: Callable[[int], None],
    ) -> Sequence[Story]:
        """Plays stories to their end, many at once; returns those that were begun in time.

        Waits for `on_order` with the id of each order that was made; calls `on_done` after each
        story with how many are done. Raises Refused and TimeoutError, in an ExceptionGroup.
        """
        waiting = iter(stories)
        closes_at = time.monotonic() + OPEN_SECONDS

        async def customers() -> None:
            while time.monotonic() < closes_at and (story := next(waiting, None)):
                self.calls.stories_begun += 1
                await self._play(story, on_order)
                self.calls.stories_done += 1
                on_done(self.calls.stories_done)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(MAX_STORIES):
                tasks.create_task(customers())
        return stories[: self.calls.stories_begun]

    async def _play(self, story: Story, on_order: Callable[[str], Awaitable[None]]) -> None:
        order = await self._post(ORDERS, story.form, 201)
        await on_order(order["id"])
        for pause_seconds, step in story.steps:
            await asyncio.sleep(pause_seconds)
            match step:
                case Send():
                    await self._send(step, order)
                case Ask():
                    await self._ask(step, order)

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, send: Send, order: dict[str, Any]) -> None:
        copies = [webhook for webhook in send.webhooks for _ in range(webhook.copies)]
        self._random.shuffle(copies)
        async with asyncio.TaskGroup() as tasks:
            for webhook in copies:
                tasks.create_task(self._deliver(webhook, order))

    async def _deliver(self, webhook: Webhook, order: dict[str, Any]) -> None:
        answer = await self._post(WEBHOOKS, body(webhook, order), 200)
        if answer != {"acknowledged": True}:
            raise Refused(f"{webhook.event_type}: {answer}")
        self.calls.webhooks += 1

    async def _ask(self, ask: Ask, order: dict[str, Any]) -> None:
        check_id = "" if ask.check is None else order["checks"][ask.check]["id"]
        path = f"{ORDERS}/{order['id']}/{ask.path.format(check=check_id)}"
        # 409: it was taken before and the answer was lost, or a failure was faster.
        await self._post(path, ask.body, 200, 409)

    async def _post(self, path: str, content: object, *expected: int) -> dict[str, Any]:
        """The answer, as soon as there is one. Raises Refused for a status that is not expected."""
        pause_seconds = FIRST_RETRY_SECONDS
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while True:
                url = self._random.choice(self._urls)
                try:
                    async with self._requests:
                        answer = await self._http.post(url + path, json=content)
                except httpx2.TransportError:
                    answer = None
                if answer is not None and answer.status_code in expected:
                    result: dict[str, Any] = answer.json()
                    return result
                if answer is not None and answer.status_code != 503:
                    raise Refused(f"{path}: {answer.status_code} {answer.text}")
                self.calls.retries += 1
                await asyncio.sleep(pause_seconds * self._random.uniform(0.5, 1))
                pause_seconds = min(2 * pause_seconds, MAX_RETRY_SECONDS)


def body(webhook: Webhook, order: dict[str, Any]) -> dict[str, Any]:
    """The webhook as JSON; amounts are strings."""
    if webhook.check is None:
        kind, source_id = "SaleOrder", order["id"]
    else:
        kind, source_id = "SaleCheck", order["checks"][webhook.check]["id"]
    payload: dict[str, Any] = {
        "timestamp": "2026-01-01T12:00:00Z",
        "source": "demo",
        "attempt": {
            "id": str(webhook.attempt_id),
            "uid": f"attempt-{webhook.attempt_id.hex[:8]}",
            "status": webhook.event_type.removeprefix("ATTEMPT_"),
            "amount": str(webhook.amount),
            "paymentProvider": "demo",
            "metadata": {"source": {"id": source_id, "uid": order["number"], "type": kind}},
        },
    }
    if webhook.paid is not None:
        payload["transaction"] = {
            "id": str(webhook.transaction_id),
            "uid": f"transaction-{webhook.transaction_id.hex[:8]}",
            "status": "OPEN",
            "total": str(webhook.total),
            "paid": str(webhook.paid),
            "sourceType": kind,
            "sourceId": source_id,
        }
    return {"eventType": webhook.event_type, "timestamp": 1767268800, "payload": payload}
