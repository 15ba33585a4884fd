"""What of a message no sink can send: the log refuses it, and its owner may have gone by that."""

import msgspec

# The reason of its dead letter.
NOT_ENCODABLE = "not_encodable"

_own = msgspec.json.Decoder(dict[str, str])


class NotEncodable(ValueError):
    """A field that can't be sent as it is. The text begins with the field's name; it is ASCII."""


def own_headers(headers: bytes) -> dict[str, str]:
    """A message's own headers. Raises NotEncodable where they are no JSON object of strings."""
    try:
        return _own.decode(headers)
    except ValueError as wrong:
        raise NotEncodable(f"headers: {wrong!s:.200}") from wrong


def fault(wrong: Exception) -> str:
    """Of whatever encoding a message raised: it would raise it at every attempt."""
    if isinstance(wrong, NotEncodable):
        return str(wrong)
    return f"{type(wrong).__name__}: {ascii(str(wrong))[:200]}"
