"""What JSON is made of and read into: structs with Python's names, and the API's names for them."""

from datetime import datetime
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, UnsetType

Value = TypeVar("Value")

# With its offset from UTC.
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]

# Left out (UNSET) it stays as it is, or is the default; None is the default again.
Setting: TypeAlias = Value | UnsetType | None


def wire_name(name: str) -> str:
    """The API's name of a field or a keyword: `from_message_id` is `fromMessageId` there.

    A name that ends in an underscore is a keyword of Python: `from_` is `from`.
    """
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(map(str.capitalize, rest))


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename=wire_name):
    """An object of the API. Fields that a newer service answers besides are left out."""
