"""One thing that the doctor found."""

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """`fault`: the relay can't do its work. `warning`: it can, but an operator should look.

    `hint` is what to do about it, empty where all is well.
    """

    level: Literal["ok", "warning", "fault"]
    what: str
    text: str
    hint: str = ""


def ok(what: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", what, text)
