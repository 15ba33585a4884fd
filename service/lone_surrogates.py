r"""Halves of UTF-16 surrogate pairs in JSON (`"\ud800"`): its grammar has them, Unicode does not.

They stand for no character, so that neither UTF-8 nor Postgres can hold them (RFC 8259, 8.2).
"""

import json
import re
from typing import Any

# Whole pairs and all other escapes are matched as well, so that none of their bytes is taken for
# the beginning of another.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>\\u[dD][89a-fA-F]..)|\\.", re.DOTALL
)
_REPLACEMENT = rb"\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")


def replaced(body: bytes) -> bytes:
    """The same JSON with U+FFFD, the replacement character, in their places."""
    return _ESCAPE.sub(lambda match: _REPLACEMENT if match["lone"] else match[0], body)


def find(body: bytes) -> str | None:
    """The path of the first value that holds one, as in `payload.items[3].note`; "" is the body.

    A name that holds one is told by the path of its object. None where there is none, or the body
    is no JSON for other reasons as well.
    """
    try:
        text = body.decode("utf-8", "surrogatepass")
        # No number matters here, and none may be too long to be read.
        return _find(json.loads(text, parse_int=str, parse_float=str), "")
    except (ValueError, RecursionError):
        return None


def _find(value: Any, path: str) -> str | None:
    inner: list[tuple[str, Any]] = []
    match value:
        case str() if _SURROGATE.search(value):
            return path
        case dict():
            if any(_SURROGATE.search(name) for name in value):
                return path
            inner = [(f"{path}.{name}" if path else name, one) for name, one in value.items()]
        case list():
            inner = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
    found = (_find(one, below) for below, one in inner)
    return next((one for one in found if one is not None), None)
