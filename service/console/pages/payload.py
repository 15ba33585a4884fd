"""What a message holds, as a page shows it."""

from typing import NamedTuple

import msgspec

# Longer ones are shown as they are: each line of JSON can be indented by all that it is in.
MAX_INDENTED_BYTES = 16_384
MAX_SHOWN_CHARACTERS = 65_536
BYTES_A_LINE = 32


class Payload(NamedTuple):
    """Text, cut where it is too long; `bytes` of it in all. Hexadecimal where it is no text."""

    text: str
    bytes: int
    is_text: bool
    is_cut: bool


def written(payload: bytes) -> Payload:
    """JSON indented, other text as it is, all else in hexadecimal."""
    try:
        text, is_text = _indented(payload.decode()), True
    except UnicodeDecodeError:
        shown = payload[: MAX_SHOWN_CHARACTERS // 3]
        rows = range(0, len(shown), BYTES_A_LINE)
        text, is_text = "\n".join(shown[at : at + BYTES_A_LINE].hex(" ") for at in rows), False
        if len(shown) < len(payload):
            return Payload(text, len(payload), is_text, is_cut=True)
    is_cut = len(text) > MAX_SHOWN_CHARACTERS
    return Payload(text[:MAX_SHOWN_CHARACTERS], len(payload), is_text, is_cut)


def _indented(text: str) -> str:
    """Its numbers and its order stay as they were written."""
    if len(text) > MAX_INDENTED_BYTES:
        return text
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return text
