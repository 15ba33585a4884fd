"""The types that a request or an answer is made of."""

from collections.abc import Iterator
from typing import Any

import msgspec.inspect


def walk(shape: Any) -> Iterator[msgspec.inspect.Type]:
    """Every type in `shape`, itself included; each struct once."""
    places, known = [msgspec.inspect.type_info(shape)], set[type]()
    while places:
        place = places.pop()
        if isinstance(place, msgspec.inspect.StructType):
            if place.cls in known:
                continue
            known.add(place.cls)
            places += [field.type for field in place.fields]
        elif isinstance(place, msgspec.inspect.Metadata):
            places.append(place.type)
        elif isinstance(place, msgspec.inspect.UnionType):
            places += place.types
        elif isinstance(place, msgspec.inspect.ListType):
            places.append(place.item_type)
        elif isinstance(place, msgspec.inspect.DictType):
            places += [place.key_type, place.value_type]
        yield place
