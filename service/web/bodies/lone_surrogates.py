r"""Halves of UTF-16 surrogate pairs in JSON (`"\ud800"`): its grammar has them, Unicode does not.

They stand for no character, so that neither UTF-8 nor Postgres can hold them (RFC 8259, 8.2).
The sender chooses the rest of the body as well, so what is done for each byte is left to C.
"""

import json
import re
from typing import NamedTuple

import msgspec

# A half whose other half is not beside it. Where a backslash is escaped, what follows it is none.
_LONE = re.compile(
    rb"\\u[dD](?:[89abAB]XX(?!\\u[dD][c-fC-F]XX)"
    rb"|(?<!\\u[dD][89abAB]XX\\u[dD])[c-fC-F]XX)".replace(b"X", b"[0-9a-fA-F]")
)
# A string, whole or up to where the text ends, and whether it is a name; or a mark.
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*+"?)(\s*:)?|([{}\[\],])', re.DOTALL)

# The way to a field further in would take too long, value by value; a longer path helps no reader.
MAX_BYTES_TO_FIELD = 16_384
MAX_PATH_LENGTH = 500


class Lone(NamedTuple):
    r"""Where one stands: `offset` in bytes, `path` as in `payload.items[3].note`.

    In a name it is told by the path of its object. The path is "" for the body itself, for what
    stands behind MAX_BYTES_TO_FIELD, and where it would be longer than MAX_PATH_LENGTH.
    """

    offset: int
    path: str


def replaced(body: bytes) -> bytes:
    """The same JSON with U+FFFD, the replacement character, in their places."""
    return _LONE.sub(rb"\\ufffd", body.replace(rb"\\", rb"\u005c"))


def find(body: bytes) -> Lone | None:
    """The first one in a body of UTF-8; None without any, or where no JSON leads to it."""
    if (lone := _LONE.search(body.replace(rb"\\", b"__"))) is None:
        return None
    offset = lone.start()
    before = body[:offset]
    if not _ends_in_a_string(before):
        return None
    path = _path(before) if offset <= MAX_BYTES_TO_FIELD else ""
    return Lone(offset, path if len(path) <= MAX_PATH_LENGTH else "")


def _ends_in_a_string(text: bytes) -> bool:
    """Whether it is JSON that is cut off there: more letters don't spoil it, nor do they end it."""
    try:
        msgspec.json.decode(text + b"xxxx", type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return str(error) == "Input data was truncated"
    except RecursionError:
        pass
    return False


def _path(text: bytes) -> str:
    """Of the value in whose string, or name, `text` ends."""
    # Of each array that is open the index, of each object the name.
    steps: list[int | bytes | None] = []
    for string, is_name, mark in _TOKEN.findall(text):
        if is_name:
            steps[-1] = string
        elif mark == b",":
            steps[-1] = steps[-1] + 1 if isinstance(steps[-1], int) else None
        elif mark in (b"{", b"["):
            steps.append(0 if mark == b"[" else None)
        elif mark:
            steps.pop()
    told = (
        f"[{one}]" if isinstance(one, int) else f".{json.loads(one)}"
        for one in steps
        if one is not None
    )
    return "".join(told).removeprefix(".")
