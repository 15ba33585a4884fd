"""What the subscribers do with an order's events, and what is wrong with two of them."""

import asyncio

from demo.subscribers.subscriber import Effect, Event, Refusal

ANALYSIS_SECONDS = 0.2


async def fulfil(event: Event, faulty: bool) -> None:
    """Packs, at once."""


async def bill(event: Event, faulty: bool) -> None:
    """Writes into a ledger. Raises Refusal while that is down."""
    if faulty:
        raise Refusal(500, "the ledger is down")


async def analyse(event: Event, faulty: bool) -> None:
    """Takes its time."""
    await asyncio.sleep(ANALYSIS_SECONDS)


async def notify(event: Event, faulty: bool) -> None:
    """Addresses a mail; its first version knows no letters but ASCII. Raises Refusal then."""
    try:
        f"Dear {event.customer_id or 'guest'}".encode("ascii" if faulty else "utf-8")
    except UnicodeEncodeError as error:
        raise Refusal(422, f"can't address the mail: {error}") from None


EFFECTS: dict[str, Effect] = {
    "fulfilment": fulfil,
    "billing": bill,
    "analytics": analyse,
    "notifications": notify,
}
# Whose fault is there from the beginning.
BORN_FAULTY = "notifications"
