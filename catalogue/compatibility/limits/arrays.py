"""Arrays: which items, how many, and what has to be among them."""

from dataclasses import dataclass
from typing import Self

from catalogue.compatibility.limits.bounds import count, most
from catalogue.compatibility.place import ANYTHING, Location, Place, or_anything


@dataclass(frozen=True, slots=True)
class Items:
    """What one schema says of items: of the first ones, and of the rest."""

    first: tuple[Place, ...]
    rest: Place

    def at(self, index: int) -> Place:
        return self.first[index] if index < len(self.first) else self.rest


@dataclass(frozen=True, slots=True)
class Contains:
    """At least and at most so many items are so."""

    place: Place
    fewest: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Arrays:
    """Each item keeps to every one of `items`."""

    items: tuple[Items, ...] = ()
    fewest: int = 0
    most: int | None = None
    unique: bool = False
    contains: tuple[Contains, ...] = ()

    @classmethod
    def read(cls, place: Place) -> Self | None:
        keywords = place.keywords
        rest = or_anything(place.at("items")) if "items" in keywords else ANYTHING
        first = tuple(or_anything(one) for one in place.listed("prefixItems"))
        end = len(first) if rest.schema is False else None
        return cls(
            (Items(first, rest),) if first or rest is not ANYTHING else (),
            count(keywords, "minItems") or 0,
            most(count(keywords, "maxItems"), end),
            keywords.get("uniqueItems") is True,
            contains(place),
        )._possible()

    def meet(self, other: Self) -> Self | None:
        return type(self)(
            self.items + other.items,
            max(self.fewest, other.fewest),
            most(self.most, other.most),
            self.unique or other.unique,
            self.contains + other.contains,
        )._possible()

    def _possible(self) -> Self | None:
        return None if self.most is not None and self.fewest > self.most else self

    def at(self, index: int) -> Location:
        """What an item there keeps to."""
        found = (items.at(index) for items in self.items)
        return tuple(dict.fromkeys(place for place in found if place is not ANYTHING))

    @property
    def listed(self) -> int:
        """From this index on all items keep to the same."""
        return max((len(items.first) for items in self.items), default=0)


def contains(place: Place) -> tuple[Contains, ...]:
    """What a schema asks to be among the items: nothing, or one."""
    if "contains" not in place.keywords:
        return ()
    fewest = count(place.keywords, "minContains")
    highest = count(place.keywords, "maxContains")
    return (Contains(place.at("contains"), 1 if fewest is None else fewest, highest),)
