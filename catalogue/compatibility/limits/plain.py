"""null, true and false: what there is of them."""

from dataclasses import dataclass
from typing import Self

from catalogue.compatibility.limits.bounds import scalars
from catalogue.compatibility.place import Place
from catalogue.compatibility.values import Kind, Scalar

_ALL: dict[Kind, frozenset[Scalar]] = {
    "null": frozenset([None]),
    "boolean": frozenset([True, False]),
}


@dataclass(frozen=True, slots=True)
class Plain:
    """Always a list of values."""

    values: frozenset[Scalar]

    @classmethod
    def read(cls, place: Place, kind: Kind) -> Self | None:
        found = scalars(place.keywords, kind)
        values = _ALL[kind] if found is None else found
        return cls(values) if values else None

    def meet(self, other: Self) -> Self | None:
        values = self.values & other.values
        return type(self)(values) if values else None
