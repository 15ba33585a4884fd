"""Counts and lists of values, as schemas have them."""

from collections.abc import Mapping
from fractions import Fraction
from typing import cast

from catalogue.compatibility.values import Scalar, exact, identity, kind_of, scalar


def number(keywords: Mapping[str, object], keyword: str) -> Fraction | None:
    """What the keyword says; None without it, and for a number too long to reckon with."""
    return exact(keywords[keyword]) if keyword in keywords else None


def count(keywords: Mapping[str, object], keyword: str) -> int | None:
    """A count: 2 and 2.0 are one."""
    found = number(keywords, keyword)
    return None if found is None else int(found)


def listed(keywords: Mapping[str, object]) -> list[object] | None:
    """The values that `enum` and `const` leave, None where a schema has neither."""
    if "const" not in keywords:
        return cast("list[object]", keywords["enum"]) if "enum" in keywords else None
    constant = keywords["const"]
    named = cast("list[object]", keywords.get("enum", [constant]))
    return [constant] if identity(constant) in map(identity, named) else []


def scalars(keywords: Mapping[str, object], kind: str) -> frozenset[Scalar] | None:
    """Those values of one kind."""
    found = listed(keywords)
    if found is None:
        return None
    return frozenset(scalar(value) for value in found if kind_of(value) == kind)


def both(
    mine: frozenset[Scalar] | None, other: frozenset[Scalar] | None
) -> frozenset[Scalar] | None:
    """The values in both lists, None being a list of all."""
    if mine is None or other is None:
        return other if mine is None else mine
    return mine & other


def most(mine: int | None, other: int | None) -> int | None:
    """The lower of two upper bounds, None being none."""
    if mine is None or other is None:
        return other if mine is None else mine
    return min(mine, other)
