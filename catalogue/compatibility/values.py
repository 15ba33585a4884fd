"""JSON values: their kinds, when two are one value, and numbers without rounding."""

from collections.abc import Hashable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Literal

Kind = Literal["null", "boolean", "number", "string", "array", "object"]
KINDS: tuple[Kind, ...] = ("null", "boolean", "number", "string", "array", "object")

Scalar = None | bool | str | Fraction | Decimal

# Longer numbers are compared as they are written, and never reckoned with: 1e999999999 as a
# fraction would fill the memory.
MAX_DIGITS = 1000
# A sentence shows no more of a value.
_MAX_TEXT = 60


def kind_of(value: object) -> Kind:
    """The kind of a JSON value, as Python has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list | tuple) else "object"


def exact(number: object) -> Fraction | None:
    """A number as a fraction; None where it is too long to reckon with, or no number."""
    if kind_of(number) != "number":
        return None
    found = _decimal(number)
    digits = len(found.as_tuple().digits)
    if digits > MAX_DIGITS or abs(found.adjusted()) > MAX_DIGITS:
        return None
    return Fraction(found)


def scalar(value: object) -> Scalar:
    """What stands for a value that is no array and no object: equal where JSON's values are."""
    if kind_of(value) != "number":
        assert value is None or isinstance(value, bool | str)
        return value
    reckoned = exact(value)
    return _decimal(value) if reckoned is None else reckoned


def identity(value: object) -> Hashable:
    """Equal for two values that are one to JSON Schema: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, identity(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(identity(item) for item in value)
    return kind_of(value), scalar(value)


def text(value: Scalar) -> str:
    """A scalar as JSON writes it, for people."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    found = f'"{value}"' if isinstance(value, str) else str(_written(value))
    return found if len(found) <= _MAX_TEXT else found[: _MAX_TEXT - 1] + "…"


def _written(value: Fraction | Decimal) -> int | Decimal:
    """Exactly: every fraction here came from a decimal."""
    if isinstance(value, Decimal):
        return value
    if value.denominator == 1:
        return value.numerator
    with localcontext() as context:
        context.prec = 4 * MAX_DIGITS
        return Decimal(value.numerator) / Decimal(value.denominator)


def _decimal(number: object) -> Decimal:
    assert isinstance(number, int | float | Decimal)
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
