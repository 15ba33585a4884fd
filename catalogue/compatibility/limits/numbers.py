"""Numbers, between bounds and in steps. `integer` is a number in steps of one."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import Self, cast

from catalogue.compatibility.limits.bounds import both, number, scalars
from catalogue.compatibility.place import Place
from catalogue.compatibility.values import Scalar

# Two steps whose common step is longer than this are not put together.
_MAX_STEP_BITS = 8192


@dataclass(frozen=True, slots=True)
class Bound:
    """`value` itself is out where it is exclusive."""

    value: Fraction
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """Without `values` any number that keeps to the rest."""

    values: frozenset[Scalar] | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    step: Fraction | None = None

    @classmethod
    def read(cls, place: Place) -> Self | None:
        keywords = place.keywords
        lower = _tighter(
            _bound(place, "minimum", exclusive=False),
            _bound(place, "exclusiveMinimum", exclusive=True),
            above,
        )
        upper = _tighter(
            _bound(place, "maximum", exclusive=False),
            _bound(place, "exclusiveMaximum", exclusive=True),
            under,
        )
        step = _common(number(keywords, "multipleOf"), Fraction(1) if is_whole(place) else None)
        return cls(scalars(keywords, "number"), lower, upper, step)._narrowed()

    def meet(self, other: Self) -> Self | None:
        return type(self)(
            both(self.values, other.values),
            _tighter(self.lower, other.lower, above),
            _tighter(self.upper, other.upper, under),
            _common(self.step, other.step),
        )._narrowed()

    def _narrowed(self) -> Self | None:
        """Bounds that lie on the steps and values that keep to both, None where nothing does."""
        lower, upper = self.lower, self.upper
        if self.step is not None and lower is not None:
            lower = Bound(_upward(lower, self.step))
        if self.step is not None and upper is not None:
            upper = Bound(-_upward(Bound(-upper.value, upper.exclusive), self.step))
        if lower is not None and upper is not None and not above(upper, Bound(lower.value)):
            return None
        if lower is not None and upper is not None and lower.exclusive and not above(upper, lower):
            return None
        values = self.values
        if values is not None:
            values = frozenset(v for v in values if self._keeps(v))
        return None if values == frozenset() else type(self)(values, lower, upper, self.step)

    def _keeps(self, value: Scalar) -> bool:
        """A number that is not reckoned with may keep to anything."""
        if not isinstance(value, Fraction):
            return True
        return (
            (self.lower is None or above(Bound(value), self.lower))
            and (self.upper is None or under(Bound(value), self.upper))
            and (self.step is None or value % self.step == 0)
        )


def is_whole(place: Place) -> bool:
    """Whether `type` lets integers come, and no other numbers."""
    types = place.keywords.get("type", "number")
    names = [types] if isinstance(types, str) else cast("list[str]", types)
    return "integer" in names and "number" not in names


def above(inner: Bound, outer: Bound) -> bool:
    """Whether what keeps to the one lower bound keeps to the other."""
    if inner.value == outer.value:
        return inner.exclusive or not outer.exclusive
    return inner.value > outer.value


def under(inner: Bound, outer: Bound) -> bool:
    """Whether what keeps to the one upper bound keeps to the other."""
    if inner.value == outer.value:
        return inner.exclusive or not outer.exclusive
    return inner.value < outer.value


def _bound(place: Place, keyword: str, *, exclusive: bool) -> Bound | None:
    found = number(place.keywords, keyword)
    return None if found is None else Bound(found, exclusive)


def _tighter(
    mine: Bound | None, other: Bound | None, within: Callable[[Bound, Bound], bool]
) -> Bound | None:
    if mine is None or other is None:
        return other if mine is None else mine
    return mine if within(mine, other) else other


def _common(mine: Fraction | None, other: Fraction | None) -> Fraction | None:
    """The step whose multiples are those of both."""
    if mine is None or other is None:
        return other if mine is None else mine
    found = Fraction(lcm(mine.numerator, other.numerator), gcd(mine.denominator, other.denominator))
    return found if found.numerator.bit_length() <= _MAX_STEP_BITS else mine


def _upward(bound: Bound, step: Fraction) -> Fraction:
    """The lowest multiple of the step that keeps to a lower bound."""
    steps = floor(bound.value / step) + 1 if bound.exclusive else ceil(bound.value / step)
    return steps * step
