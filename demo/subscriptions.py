"""The subscriptions of the demo, made and looked after over the platform's HTTP API."""

import asyncio
import time
from itertools import cycle
from typing import Any

import httpx2

from demo.subscribers.effects import EFFECTS

CHANNEL = "orders.lifecycle"
SUBSCRIBERS = tuple(EFFECTS)
# Whose endpoint fails for a while, and who refuses an order until it is repaired.
FAILING, REFUSING = "billing", "notifications"

COOL_DOWN_SECONDS = 1.5
# After an attempt whose outcome died with its relay a message goes again once this is over.
TIMEOUT_SECONDS = 3
PATIENT = {"initialDelay": 0.2, "multiplier": 2, "maxDelay": 0.5, "maxAttempts": 100}
TERMS: dict[str, dict[str, Any]] = {
    "fulfilment": {"retry": PATIENT},
    "analytics": {"retry": PATIENT},
    FAILING: {
        "retry": PATIENT,
        # In small, so that minutes of an outage fit into seconds.
        "breaker": {"window": 3, "minimum": 5, "threshold": 0.5, "coolDown": COOL_DOWN_SECONDS},
    },
    # Parked, so that the rest of the order waits for it and comes in order.
    REFUSING: {"retry": {"schedule": [0.2, 0.4, 0.8, 0.8]}, "onExhausted": "park"},
}

REQUEST_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 0.1
GIVE_UP_SECONDS = 30.0


class ApiError(Exception):
    """The API refused what the demo asked for, or was away for too long; carries its answer."""


class Subscriptions:
    """A client of the API; what gets no answer goes to another process of the service."""

    def __init__(self, service_urls: list[str], api_key: str) -> None:
        self._urls = cycle(service_urls)
        self._ids: dict[str, str] = {}
        self._http = httpx2.AsyncClient(
            timeout=REQUEST_TIMEOUT_SECONDS,
            trust_env=False,
            headers={"Authorization": f"Bearer {api_key}"},
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def subscribe(self, name: str, endpoint: str) -> str:
        """Subscribes an endpoint to orders.lifecycle; returns the secret of its signatures."""
        form = {
            "name": name,
            "channelId": CHANNEL,
            "endpoint": endpoint,
            "timeoutSeconds": TIMEOUT_SECONDS,
            **TERMS[name],
        }
        made = await self._ask("POST", "/v1/subscriptions", json=form)
        self._ids[name] = made["id"]
        secret: str = made["secret"]
        return secret

    async def breaker(self, name: str) -> str:
        """closed, open or halfOpen."""
        found = await self._ask("GET", f"/v1/subscriptions/{self._ids[name]}")
        state: str = found["breakerState"]["state"]
        return state

    async def dead_letters(self, name: str) -> list[dict[str, Any]]:
        """Dead letters that were not redriven yet."""
        query = {"subscriptionId": self._ids[name], "state": "dead"}
        found = await self._ask("GET", "/v1/dead-letters", params=query)
        dead_letters: list[dict[str, Any]] = found["items"]
        return dead_letters

    async def redrive(self, name: str) -> None:
        """Sends all its dead letters again; harmless where an answer is lost and it asks twice."""
        form = {"subscriptionId": self._ids[name]}
        await self._ask("POST", "/v1/dead-letters/redrive", json=form)

    async def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                answer = await self._http.request(method, next(self._urls) + path, **content)
            except httpx2.TransportError as error:
                problem = str(error)
            else:
                if answer.is_success:
                    result: dict[str, Any] = answer.json()
                    return result
                problem = f"{answer.status_code} {answer.text}"
                if answer.status_code != 503:
                    raise ApiError(f"{method} {path}: {problem}")
            if time.monotonic() > deadline:
                raise ApiError(f"{method} {path}: {problem}")
            await asyncio.sleep(RETRY_SECONDS)
