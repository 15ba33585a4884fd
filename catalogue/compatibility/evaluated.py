"""What `unevaluatedProperties: false` leaves of properties: what is declared around it."""

from collections.abc import Iterator

from catalogue.compatibility.limits import Properties
from catalogue.compatibility.place import (
    ANYTHING,
    NOTHING,
    Location,
    Place,
    Side,
    in_place,
    together,
)
from catalogue.compatibility.steps import Steps

_SAYS_THE_REST = ("additionalProperties", "unevaluatedProperties")


def closings(location: Location, steps: Steps) -> Iterator[Properties]:
    """For each schema that says so, what it lets come at most.

    What it declares in any branch is among that, since forms may let more come than schemas do.
    Nothing is said where one of its branches speaks of the rest itself.
    """
    for place in location:
        for one in together(place):
            if one.keywords.get("unevaluatedProperties") is False and one.side is not Side.READER:
                yield from _declared(one, steps)


def _declared(place: Place, steps: Steps) -> Iterator[Properties]:
    names: dict[str, Place] = {}
    patterns: dict[str, Place] = {}
    for one in in_place(place):
        steps.take()
        said = [word for word in _SAYS_THE_REST if word in one.keywords]
        if said and (one is not place or "additionalProperties" in said):
            return
        names.update(dict.fromkeys(one.named("properties"), ANYTHING))
        patterns.update(dict.fromkeys(one.named("patternProperties"), ANYTHING))
    yield Properties(names, patterns, NOTHING)
