"""Schemas taken apart into forms: each value that keeps to a schema keeps to one of its forms.

Forms may let more come than their schema does, never less. What makes the difference stands in
their conditions.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from typing import cast

from catalogue.compatibility.conditions import boolean, said
from catalogue.compatibility.evaluated import closings
from catalogue.compatibility.form import Form, kinds, read
from catalogue.compatibility.limits import Arrays, Limits, Objects, Properties
from catalogue.compatibility.limits.bounds import listed
from catalogue.compatibility.matching import matches
from catalogue.compatibility.place import ANYTHING, Location, Place, Schema, conjuncts
from catalogue.compatibility.steps import Steps
from catalogue.compatibility.values import KINDS, identity

Forms = tuple[Form, ...]

# How far down a value is looked at to find that there can be none.
_MAX_LOOK = 4


class Normal:
    """Remembers the forms of what it has taken apart."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._places: dict[Place, Forms] = {}
        self._locations: dict[Location, Forms] = {}
        self._overlaps: dict[tuple[Form, Place], bool] = {}
        self._listed: dict[Place, frozenset[Hashable] | None] = {}

    def forms(self, location: Location) -> Forms:
        """Of the values that keep to all of these schemas."""
        found = self._locations.get(location)
        if found is None:
            found = self.of(location[0] if location else ANYTHING)
            for place in location[1:]:
                found = self._meet(found, self.of(place))
            for closing in closings(location, self._steps):
                found = tuple(_closed(found, closing))
            self._locations[location] = found
        return found

    def of(self, place: Place) -> Forms:
        """Of the values that keep to this schema."""
        found = self._places.get(place)
        if found is None:
            with self._steps:
                found = () if boolean(place) is False else self._taken_apart(place)
            self._places[place] = found
        return found

    def _taken_apart(self, place: Place) -> Forms:
        found = self._own(place)
        for part in conjuncts(place):
            found = self._meet(found, self.of(part))
        if "anyOf" in place.keywords:
            found = self._meet(self._any(place.listed("anyOf")), found)
        if "oneOf" in place.keywords:
            found = self._meet(self._any(place.listed("oneOf")), found)
        return found

    def _any(self, branches: Iterable[Place]) -> Forms:
        return tuple(form for branch in branches for form in self.of(branch))

    def _own(self, place: Place) -> Forms:
        """By its own keywords, without its branches."""
        conditions = tuple(said(place))
        every = [read(place, kind, conditions) for kind in KINDS if kind in kinds(place)]
        found = tuple(form for form in every if form is not None)
        if listed(place.keywords) is None:
            return found
        whole = [
            replace(form, whole=identity(value))
            for index, value in enumerate(listed(place.keywords) or ())
            if isinstance(value, list | dict)
            for form in self.of(place.made(_exactly(value), "enum", index))
        ]
        kept = tuple(form for form in found if form.values is not None)
        return kept + self._meet([form for form in found if form.values is None], whole)

    def _meet(self, some: Iterable[Form], others: Iterable[Form]) -> Forms:
        others = tuple(others)
        return tuple(met for one in some for other in others if (met := self._met(one, other)))

    def _met(self, one: Form, other: Form) -> Form | None:
        self._steps.take()
        return one.meet(other)

    def listed(self, place: Place) -> frozenset[Hashable] | None:
        """The identities of the values that a schema lists, None where it lists none."""
        if place not in self._listed:
            values = listed(place.keywords)
            found = None if values is None else frozenset(identity(value) for value in values)
            self._listed[place] = found
        return self._listed[place]

    def possible(self, form: Form, look: int = _MAX_LOOK) -> bool:
        """Whether there may be such a value: False where it lacks something that it has to have."""
        limits = form.limits
        if look == 0 or not isinstance(limits, Arrays | Objects):
            return True
        if isinstance(limits, Objects):
            return all(
                any(self._may_be(location, look - 1) for location in property_at(limits, name))
                for name in limits.required
            )
        first = range(min(limits.fewest, limits.listed + 1))
        return all(self._may_be(limits.at(index), look - 1) for index in first)

    def _may_be(self, location: Location, look: int) -> bool:
        with self._steps:
            return any(self.possible(form, look) for form in self.forms(location))

    def overlap(self, form: Form, place: Place) -> bool:
        """Whether a value of this form may keep to the schema, too."""
        found = self._overlaps.get((form, place))
        if found is None:
            found = any(self.possible(met) for met in self._meet([form], self.of(place)))
            self._overlaps[form, place] = found
        return found


def property_at(limits: Objects, name: str) -> Iterator[Location]:
    """What a property of that name may keep to, one after the other."""
    return limits.at(name, lambda pattern: matches(pattern, name))


def _exactly(value: list[object] | dict[str, object]) -> Schema:
    if isinstance(value, list):
        items = [{"const": item} for item in value]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    return {
        "type": "object",
        "properties": {name: {"const": item} for name, item in value.items()},
        "required": list(value),
        "additionalProperties": False,
    }


def _closed(forms: Forms, closing: Properties) -> Iterator[Form]:
    for form in forms:
        if isinstance(form.limits, Objects):
            limits = form.limits.meet(Objects(properties=(closing,)))
            if limits is not None:
                yield replace(form, limits=cast("Limits", limits))
        else:
            yield form
