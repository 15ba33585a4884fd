"""What customers will buy, and who will change their mind: drawn, all from one seed."""

from random import Random
from uuid import UUID

import msgspec

from demo.saga.orchestrator import Order

PRICES_CENTS = {"teapot": 2_490, "cup": 795, "tray": 1_850, "samovar": 14_999}
# Fewer of it than are wanted, so that somebody gets the last one and somebody does not.
SCARCE = "samovar"
MAX_QUANTITY = 3
CHANGES_MIND = 0.12
MAX_HESITATION_SECONDS = 3.0


class Purchase(msgspec.Struct, frozen=True):
    """An order, and how long after it the customer cancels, if ever."""

    order: Order
    cancels_after_seconds: float | None


def purchases(random: Random, count: int) -> list[Purchase]:
    """In the order in which they are made."""
    return [_purchase(random) for _ in range(count)]


def opening_stock(orders: int) -> dict[str, int]:
    """Of each product, for so many orders."""
    return {
        product: max(orders // 5, 1) if product == SCARCE else MAX_QUANTITY * orders
        for product in PRICES_CENTS
    }


def _purchase(random: Random) -> Purchase:
    product = random.choice(list(PRICES_CENTS))
    quantity = random.randint(1, MAX_QUANTITY)
    order_id = UUID(int=random.getrandbits(128), version=4)
    order = Order(order_id, product, quantity, quantity * PRICES_CENTS[product])
    changes_mind = random.random() < CHANGES_MIND
    hesitation = random.uniform(0, MAX_HESITATION_SECONDS)
    return Purchase(order, hesitation if changes_mind else None)
