"""What goes wrong with an order, drawn from its id: every process knows the same without asking."""

from hashlib import sha256
from uuid import UUID

DECLINED = 0.07
CLOSED = 0.07
RELEASE_FAILS = 0.25
REFUND_FAILS = 0.35
ANSWER_LOST = 0.25
MOST_FAILURES = 3


def is_declined(order_id: UUID) -> bool:
    """Whether the provider does not take this customer's card."""
    return _drawn(order_id, "declined") < DECLINED


def finds_closed(order_id: UUID) -> bool:
    """Whether the warehouse is closed when this order comes."""
    return _drawn(order_id, "closed") < CLOSED


def failed_releases(order_id: UUID) -> int:
    """How many attempts at putting the goods back fail first."""
    return _failures(order_id, "release", RELEASE_FAILS)


def failed_refunds(order_id: UUID) -> int:
    """How many attempts at giving the money back fail first."""
    return _failures(order_id, "refund", REFUND_FAILS)


def loses_answer(order_id: UUID) -> bool:
    """Whether the provider's first answer to a charge never arrives."""
    return _drawn(order_id, "answer") < ANSWER_LOST


def _failures(order_id: UUID, what: str, share: float) -> int:
    """From 1 to MOST_FAILURES for a share of the orders, else 0."""
    drawn = _drawn(order_id, what)
    return 1 + int(drawn / share * MOST_FAILURES) if drawn < share else 0


def _drawn(order_id: UUID, what: str) -> float:
    """From 0 up to 1, always the same for one order and one event."""
    digest = sha256(f"{what} {order_id}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
