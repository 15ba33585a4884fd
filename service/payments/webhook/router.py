"""The router: which order or check does an event speak of? Changes nothing."""

from typing import Literal

import msgspec

from service.payments.webhook.event import Payload

Kind = Literal["SaleOrder", "SaleCheck"]


class Target(msgspec.Struct, frozen=True):
    """The order or the check that an event names; whether it exists is not known yet."""

    kind: Kind
    id: str


def route(payload: Payload) -> Target | None:
    """A check wins where an order is named as well; None where neither is."""
    for kind in ("SaleCheck", "SaleOrder"):
        if (source_id := _named(payload, kind)) is not None:
            return Target(kind, source_id)
    return None


def _named(payload: Payload, kind: Kind) -> str | None:
    transaction, attempt = payload.transaction, payload.attempt
    if transaction and transaction.source_type == kind and transaction.source_id is not None:
        return transaction.source_id
    source = attempt.metadata.source if attempt and attempt.metadata else None
    return source.id if source and source.type == kind else None
