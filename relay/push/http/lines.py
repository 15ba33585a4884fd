"""The lines of a request's head that its maker adds: one for each header."""

from collections.abc import Iterable
from typing import NewType

# Whole lines, each with its end, of which none says more than its name and value.
Lines = NewType("Lines", bytes)


def lines(headers: Iterable[tuple[str, str]]) -> Lines:
    """Raises ValueError where a header would say more than its name and value."""
    made = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(made)
    if text.count("\n") != len(made) or text.count("\r") != len(made) or "\0" in text:
        raise ValueError("a header with a line break")
    return Lines(text.encode("ascii"))
