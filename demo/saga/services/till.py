"""The wire to the payment provider: a verdict, or the admission that nobody knows."""

import os
from typing import Literal

import httpx2
import msgspec

from demo.saga.messages import Command

TIMEOUT_SECONDS = 2.0

Verdict = Literal["taken", "declined", "failed", "unknown"]


class Answer(msgspec.Struct, frozen=True):
    outcome: Verdict


class Till:
    """Asks the provider at PROVIDER_URL."""

    def __init__(self) -> None:
        # Held: a new client costs more than all of its requests.
        self._http = httpx2.Client(
            base_url=os.environ["PROVIDER_URL"], timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def ask(self, verb: str, key: str, command: Command) -> Verdict:
        """`unknown` where no answer came: then it may have happened, or not."""
        demand = {"orderId": str(command.order_id), "amountCents": command.amount_cents}
        try:
            answer = self._http.post(f"/{verb}", json=demand, headers={"Idempotency-Key": key})
            answer.raise_for_status()
        except (httpx2.TransportError, httpx2.HTTPStatusError):
            return "unknown"
        return msgspec.json.decode(answer.content, type=Answer).outcome
