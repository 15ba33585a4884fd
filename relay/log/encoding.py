"""A message's fields as sinks send them, and what no sink can send.

The log refuses such a message at its INSERT, but the owner may have gone by that.
"""

from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

# The reason of its dead letter.
NOT_ENCODABLE = "not_encodable"

_POSTGRES_EPOCH = datetime(2000, 1, 1)
_own = msgspec.json.Decoder(dict[str, str])


class NotEncodable(ValueError):
    """A field that can't be sent as it is. The text begins with the field's name; it is ASCII."""

    reason = NOT_ENCODABLE


class Unsendable(NotEncodable):
    """What it is to go to takes none like it. `reason` is the word of its dead letter."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def own_headers(headers: bytes) -> dict[str, str]:
    """A message's own headers. Raises NotEncodable where they are no JSON object of strings."""
    try:
        return _own.decode(headers)
    except ValueError as wrong:
        raise NotEncodable(f"headers: {wrong!s:.200}") from wrong


def time_text(created_at: int) -> bytes:
    """When a message was written (microseconds since 2000-01-01 UTC), by RFC 3339, in UTC.

    Raises NotEncodable beyond the years 1 to 9999.
    """
    second, fraction = divmod(created_at, 1_000_000)
    return b"%b.%06dZ" % (_second_text(second), fraction)


# A backlog shares its seconds.
@lru_cache(1000)
def _second_text(second: int) -> bytes:
    try:
        return (_POSTGRES_EPOCH + timedelta(seconds=second)).isoformat().encode()
    except OverflowError as wrong:
        raise NotEncodable("created_at: the year is not 1 to 9999") from wrong


def reason(wrong: Exception) -> str:
    """Of the dead letter of a message whose encoding raised that."""
    return wrong.reason if isinstance(wrong, NotEncodable) else NOT_ENCODABLE


def fault(wrong: Exception) -> str:
    """Of whatever encoding a message raised: it would raise it at every attempt."""
    if isinstance(wrong, NotEncodable):
        return str(wrong)
    return f"{type(wrong).__name__}: {ascii(str(wrong))[:200]}"
