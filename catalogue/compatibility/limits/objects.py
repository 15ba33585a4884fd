"""Objects: which properties may come, which have to, and what each keeps to."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Self, cast

from catalogue.compatibility.limits.bounds import count, most
from catalogue.compatibility.place import ANYTHING, NOTHING, Location, Place, Side, or_anything

# Whether a name matches a pattern, None where that is not known.
Fits = Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class Properties:
    """What one schema says of properties: by name, by pattern, and of the rest."""

    named: Mapping[str, Place]
    patterns: Mapping[str, Place]
    rest: Place

    def choices(self, name: str | None, fits: Fits) -> list[Location]:
        """What a property may keep to: each of the places of one of these. None: any other name."""
        sure = [self.named[name]] if name is not None and name in self.named else []
        sure += [place for pattern, place in self.patterns.items() if fits(pattern)]
        if sure:
            return [tuple(sure)]
        perhaps = [place for pattern, place in self.patterns.items() if fits(pattern) is None]
        return [(place,) for place in (*perhaps, self.rest)]


@dataclass(frozen=True, slots=True)
class Objects:
    """Each property keeps to every one of `properties`, each name to every one of `names`."""

    properties: tuple[Properties, ...] = ()
    required: frozenset[str] = frozenset()
    fewest: int = 0
    most: int | None = None
    names: Location = ()
    dependent: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Place) -> Self | None:
        keywords = place.keywords
        own = Properties(
            _each(place, "properties"), _each(place, "patternProperties"), _rest(place)
        )
        needs = cast("Mapping[str, list[str]]", keywords.get("dependentRequired", {}))
        return cls(
            (own,) if own.named or own.patterns or own.rest is not ANYTHING else (),
            frozenset(cast("list[str]", keywords.get("required", ()))),
            count(keywords, "minProperties") or 0,
            count(keywords, "maxProperties"),
            (place.at("propertyNames"),) if "propertyNames" in keywords else (),
            {name: frozenset(names) for name, names in needs.items()},
        )._possible()

    def meet(self, other: Self) -> Self | None:
        names = self.dependent.keys() | other.dependent.keys()
        none: frozenset[str] = frozenset()
        return type(self)(
            self.properties + other.properties,
            self.required | other.required,
            max(self.fewest, other.fewest),
            most(self.most, other.most),
            self.names + other.names,
            {n: self.dependent.get(n, none) | other.dependent.get(n, none) for n in names},
        )._possible()

    def _possible(self) -> Self | None:
        return None if self.count_most is not None and self.count_fewest > self.count_most else self

    @property
    def count_fewest(self) -> int:
        return max(self.fewest, len(self.required))

    @property
    def count_most(self) -> int | None:
        found = self.most
        for one in self.properties:
            if one.rest.schema is False and not one.patterns:
                found = most(found, len(one.named))
        return found

    @property
    def declared(self) -> list[str]:
        """The names that some schema gives a schema of its own."""
        return list(dict.fromkeys(name for one in self.properties for name in one.named))

    def at(self, name: str | None, fits: Fits) -> Iterator[Location]:
        """What a property of that name may keep to, one after the other. None: any other name."""
        if self.count_most == len(self.required) and name not in self.required:
            return
        for choice in product(*(one.choices(name, fits) for one in self.properties)):
            places = dict.fromkeys(place for location in choice for place in location)
            if not any(place.schema is False for place in places):
                yield tuple(place for place in places if place is not ANYTHING)


def _rest(place: Place) -> Place:
    if "additionalProperties" not in place.keywords:
        return ANYTHING
    rest = place.at("additionalProperties")
    if rest.schema is False:
        return ANYTHING if place.side is Side.READER else NOTHING
    return or_anything(rest)


def _each(place: Place, keyword: str) -> dict[str, Place]:
    return {name: or_anything(one) for name, one in place.named(keyword).items()}
