"""A payment event as the provider sends it."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from service.payments.money import Money, text
from service.web.bodies.body import WITHOUT_NUL
from service.web.operations.ids import UUIDS

Text = Annotated[str, Meta(max_length=1000, pattern=WITHOUT_NUL)]

# Part of the repeat key, which is indexed: in any alphabet it must fit into a row of a btree.
Id = Annotated[str, Meta(max_length=200, pattern=WITHOUT_NUL)]


class EventType(StrEnum):
    """What a provider can tell; anything else is acknowledged as unknown."""

    ATTEMPT_SUCCESS = "ATTEMPT_SUCCESS"
    ATTEMPT_FAILED = "ATTEMPT_FAILED"
    ATTEMPT_EXPIRED = "ATTEMPT_EXPIRED"
    ATTEMPT_CANCELLED = "ATTEMPT_CANCELLED"
    TRANSACTION_SETTLED = "TRANSACTION_SETTLED"
    TRANSACTION_CANCELLED = "TRANSACTION_CANCELLED"

    @classmethod
    def known(cls, name: str) -> "EventType | None":
        """The event of this name, None for a name that is none."""
        return cls.__members__.get(name)


CANCELLING = frozenset(
    {EventType.ATTEMPT_FAILED, EventType.ATTEMPT_EXPIRED, EventType.ATTEMPT_CANCELLED}
)


class TransactionMetadata(msgspec.Struct, frozen=True):
    """An object in which the provider may write what it likes: none of it is unpacked."""


class PaymentTransaction(msgspec.Struct, frozen=True, rename="camel"):
    """The provider's transaction: `paid` is cumulative over its attempts."""

    id: Id
    uid: Text
    status: Text
    total: Money
    paid: Money
    source_type: Text | None = None
    source_id: Text | None = None
    metadata: TransactionMetadata | None = None


class Source(msgspec.Struct, frozen=True):
    """What an attempt is for."""

    id: Text | None = None
    uid: Text | None = None
    type: Text | None = None


class AttemptMetadata(msgspec.Struct, frozen=True):
    """What the provider was asked to remember about an attempt."""

    source: Source | None = None


class PaymentAttempt(msgspec.Struct, frozen=True, rename="camel"):
    """One try to pay: `amount` is this try's alone."""

    id: Id
    uid: Text
    status: Text
    amount: Money
    payment_provider: Text
    reason: Text | None = None
    metadata: AttemptMetadata | None = None


class Payload(msgspec.Struct, frozen=True):
    """What happened, to which transaction and by which attempt."""

    timestamp: Text
    source: Text | None = None
    transaction: PaymentTransaction | None = None
    attempt: PaymentAttempt | None = None

    def paid(self, stored: Decimal) -> Decimal:
        """What is paid by now, given what was stored: never less than that."""
        if self.transaction is not None:
            return max(stored, self.transaction.paid)
        return stored + self.amount()

    def shortfall(self, stored: Decimal) -> Decimal:
        """What the attempt brought beyond the growth of `paid`; there is none unless above zero.

        It has one where `paid` of its transaction is no higher than what is stored: it belongs to
        another transaction, or comes late.
        """
        if self.attempt is None:
            return Decimal(0)
        return self.attempt.amount - (self.paid(stored) - stored)

    def amount(self) -> Decimal:
        """What this event brought: the attempt's amount; without an attempt all that was paid."""
        if self.attempt is not None:
            return self.attempt.amount
        return self.transaction.paid if self.transaction is not None else Decimal(0)

    def occasion(self) -> str:
        """What tells this event from a repeat of it: the attempt, else transaction and paid."""
        if self.attempt is not None:
            return f"attempt {canonical(self.attempt.id)}"
        assert self.transaction is not None, "the router finds nothing in an empty payload"
        paid = text(self.transaction.paid.normalize())
        return f"transaction {canonical(self.transaction.id)} paid {paid}"


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What of a request's body says which event it is, whatever else is in it.

    `event_type` gives way to the header X-Webhook-Event-Type. Where webhooks are signed it is
    required, and the header may only repeat it.
    """

    event_type: Text | None = None


class WebhookBody(Envelope, frozen=True, kw_only=True, rename="camel"):
    """The request's body, of an event that is known."""

    timestamp: int | float
    payload: Payload


def canonical(value: str) -> str:
    """One spelling per id: UUIDs may come in capitals."""
    return value.lower() if UUIDS.pattern.fullmatch(value) else value
