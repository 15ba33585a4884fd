"""Trace context (W3C): which trace a request belongs to, carried into its messages."""

import re

# Version ff is forbidden, and so are ids of zeros only.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def traceparent(header: str | None) -> str | None:
    """The header as it came if it is well-formed, else None: a broken one starts no trace."""
    return header if header and _TRACEPARENT.fullmatch(header) else None
