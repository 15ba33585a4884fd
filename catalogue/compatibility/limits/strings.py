"""Strings: how long, of which pattern, of which format. Lengths are in code points."""

from dataclasses import dataclass, replace
from typing import Self, cast

from catalogue.compatibility.limits.bounds import both, count, most, scalars
from catalogue.compatibility.place import Place
from catalogue.compatibility.values import Scalar


@dataclass(frozen=True, slots=True)
class Strings:
    """Without `values` any string that keeps to the rest."""

    values: frozenset[Scalar] | None = None
    shortest: int = 0
    longest: int | None = None
    patterns: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()

    @classmethod
    def read(cls, place: Place) -> Self | None:
        keywords = place.keywords
        return cls(
            scalars(keywords, "string"),
            count(keywords, "minLength") or 0,
            count(keywords, "maxLength"),
            _text(place, "pattern"),
            _text(place, "format"),
        )._narrowed()

    def meet(self, other: Self) -> Self | None:
        return type(self)(
            both(self.values, other.values),
            max(self.shortest, other.shortest),
            most(self.longest, other.longest),
            self.patterns | other.patterns,
            self.formats | other.formats,
        )._narrowed()

    def _narrowed(self) -> Self | None:
        if self.longest is not None and self.shortest > self.longest:
            return None
        if self.values is None:
            return self
        values = frozenset(value for value in self.values if self._keeps(value))
        return replace(self, values=values) if values else None

    def _keeps(self, value: Scalar) -> bool:
        length = len(cast("str", value))
        return length >= self.shortest and (self.longest is None or length <= self.longest)


def _text(place: Place, keyword: str) -> frozenset[str]:
    found = place.keywords.get(keyword)
    return frozenset([found]) if isinstance(found, str) else frozenset()
