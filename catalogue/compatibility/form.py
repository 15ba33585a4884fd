"""One way in which a value may keep to a schema: its kind, and what holds for it then."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Self, cast

from catalogue.compatibility.limits import Arrays, Limits, Numbers, Objects, Plain, Strings
from catalogue.compatibility.place import Place, below
from catalogue.compatibility.values import KINDS, Kind, Scalar


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that a schema asks and that is compared as it is written, not understood."""

    keyword: str
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Equal to itself alone.

    `stated` says which schema said a keyword, and `pointer` where the whole stands. With `whole` it
    is just one array or object, and that is its identity.
    """

    kind: Kind
    pointer: str
    limits: Limits
    stated: Mapping[str, str]
    conditions: tuple[Condition, ...] = ()
    whole: Hashable = None

    def meet(self, other: Self) -> Self | None:
        """What keeps to both, None where nothing does."""
        if self.kind != other.kind or not _agree(self.whole, other.whole):
            return None
        limits = self.limits.meet(other.limits)  # type: ignore[arg-type]
        if limits is None:
            return None
        return type(self)(
            self.kind,
            self.pointer,
            limits,
            {**other.stated, **self.stated},
            self.conditions + other.conditions,
            other.whole if self.whole is None else self.whole,
        )

    def at(self, keyword: str, *path: str | int) -> str:
        """Where the keyword stands, or would stand."""
        return below(self.stated.get(keyword, self.pointer), keyword, *path)

    @property
    def values(self) -> frozenset[Scalar] | None:
        """Those that it may be, where they are listed."""
        return None if isinstance(self.limits, Arrays | Objects) else self.limits.values

    def single(self) -> tuple[Self, ...]:
        """A form for each of its values."""
        return tuple(
            type(self)(
                self.kind, self.pointer, _only(self.limits, value), self.stated, self.conditions
            )
            for value in self.values or ()
        )


def read(place: Place, kind: Kind, conditions: tuple[Condition, ...]) -> Form | None:
    """What the schema's own keywords let come of one kind, without `type` and its branches."""
    limits: Limits | None
    match kind:
        case "number":
            limits = Numbers.read(place)
        case "string":
            limits = Strings.read(place)
        case "array":
            limits = Arrays.read(place)
        case "object":
            limits = Objects.read(place)
        case _:
            limits = Plain.read(place, kind)
    if limits is None:
        return None
    stated = dict.fromkeys(place.keywords, place.pointer)
    return Form(kind, place.pointer, limits, stated, conditions)


def names(place: Place) -> list[str]:
    """The types that it lets come, as `type` says them."""
    found = place.keywords.get("type", KINDS)
    return [found] if isinstance(found, str) else list(cast("list[str]", found))


def kinds(place: Place) -> frozenset[Kind]:
    """The kinds of values that these are."""
    return frozenset(cast("Kind", "number" if one == "integer" else one) for one in names(place))


def _agree(mine: Hashable, other: Hashable) -> bool:
    return mine is None or other is None or mine == other


def _only(limits: Limits, value: Scalar) -> Limits:
    assert not isinstance(limits, Arrays | Objects)
    return replace(limits, values=frozenset([value]))
