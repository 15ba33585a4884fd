"""A type of event that the sale publishes: its name, its channel, the shape of its payload."""

from typing import Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction

Payload = TypeVar("Payload", bound=msgspec.Struct)
T = TypeVar("T")


class SaleEvent(msgspec.Struct, Generic[Payload], frozen=True):
    """Nothing is published but as one of these, and of these the files in event_types are made."""

    name: str
    channel: str
    shape: type[Payload]

    async def publish(
        self, transaction: Transaction, order_id: UUID, payload: Payload, *, priority: int = 3
    ) -> None:
        """In the group of the order; it exists if and when the transaction commits."""
        await transaction.publish(
            self.channel, self.name, payload, group_key=str(order_id), priority=priority
        )


def given(value: T | None) -> T | UnsetType:
    """What a payload leaves out where it is None, and never holds as null."""
    return UNSET if value is None else value
