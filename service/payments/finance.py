"""`finance` of an order's metadata: each payment is published with it, as its creator wrote it."""

import msgspec
from msgspec import Raw

from catalogue import payloads
from catalogue.payloads import Unreadable
from service.problems import Problem

_METADATA = msgspec.json.Decoder(dict[str, Raw])


def of(metadata: str | None) -> Raw | None:
    """Byte for byte."""
    finance = _METADATA.decode(metadata).get("finance") if metadata else None
    return None if finance is None or bytes(finance) == b"null" else finance


def require_readable(finance: Raw) -> None:
    """Problem 422 for what no payload may hold where payments are held to their event type.

    Said to who makes the order: when it is paid, nobody could do anything about it.
    """
    try:
        payloads.read_written(b'{"payment":{"finance":%b}}' % bytes(finance))
    except Unreadable as reason:
        field = "metadata.finance"
        raise Problem(422, f"{field} {reason}.", field=field) from None
