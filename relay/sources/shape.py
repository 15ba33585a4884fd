"""What of a record's headers is what, as far as their names say: found once for many records."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.log import path
from relay.sources.headers import MAX_REMEMBERED, fold

# Of CloudEvents in binary mode.
_PREFIX = "ce_"


class Shape(NamedTuple):
    """Places among the headers. Names are told apart without case; of equal ones the last counts.

    `attributes` are those of an event, None: it is none. `own` is all but `paths`: those are all
    that the log takes for the same name, so that none stands there in the place of the path.
    """

    paths: Sequence[int]
    own: Sequence[int]
    own_names: Sequence[str]
    content_type: int | None
    idempotency_key: int | None
    attributes: dict[str, int] | None


def shape_of(names: tuple[str, ...]) -> Shape:
    """Of headers with these names."""
    # A name may be a megabyte: of those none is remembered.
    return (_shape if sum(map(len, names)) <= MAX_REMEMBERED else _shape.__wrapped__)(names)


# A topic's records have few sets of names.
@lru_cache(200)
def _shape(names: tuple[str, ...]) -> Shape:
    places = {name.lower(): place for place, name in enumerate(names)}
    paths = [place for place, name in enumerate(names) if fold(name) == path.NAME]
    own = [place for place in range(len(names)) if place not in paths]
    attributes = {
        name.removeprefix(_PREFIX): place
        for name, place in places.items()
        if name.startswith(_PREFIX)
    }
    return Shape(
        paths=paths,
        own=own,
        own_names=[names[place] for place in own],
        content_type=places.get("content-type"),
        idempotency_key=places.get("idempotency-key"),
        attributes=attributes if {"specversion", "type"} & attributes.keys() else None,
    )
