"""Amounts of money: decimals from end to end, never floats."""

import re
from decimal import Decimal
from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import Meta

MAX_DIGITS = 15
MAX_DECIMALS = 8

T = TypeVar("T")

# As it goes out: see `text`.
Amount = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]+(\.[0-9]+)?$", description="A decimal amount; a string keeps every digit."
    ),
]

_AMOUNT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


class Money(Decimal):
    """An amount as it came in JSON: a number, or a string that reads like one.

    At least zero, less than 10^15, at most 8 decimals; "10.10" and 10.10 are the same amount.
    """

    @classmethod
    def parse(cls, value: object) -> Self:
        """Raises ValueError saying what an amount has to be."""
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise ValueError("Expected an amount as a number or a string")
        text = str(value)
        if not _AMOUNT.fullmatch(text):
            raise ValueError("Expected a decimal amount of at least 0")
        amount = cls(text)
        # From the digits and not by arithmetic, which would round.
        if amount.adjusted() >= MAX_DIGITS and amount:
            raise ValueError(f"Expected at most {MAX_DIGITS} digits before the decimal point")
        exponent = amount.as_tuple().exponent
        assert isinstance(exponent, int), "the pattern lets neither NaN nor infinity through"
        if -exponent > MAX_DECIMALS:
            raise ValueError(f"Expected at most {MAX_DECIMALS} decimals")
        return cls(format(amount, "f")) if exponent > 0 else amount

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """What `parse` takes, as JSON Schema."""
        digits = f"[0-9]{{1,{MAX_DIGITS}}}(\\.[0-9]{{1,{MAX_DECIMALS}}})?"
        return {
            "description": "A decimal amount; a string keeps every digit.",
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": 10**MAX_DIGITS},
                {"type": "string", "pattern": f"^{digits}$"},
            ],
        }


def text(amount: Decimal) -> str:
    """The amount as it goes out: all digits, no exponent."""
    return format(amount, "f")


def decoder(shape: type[T]) -> "msgspec.json.Decoder[T]":
    """A decoder that takes numbers as they are written, never as floats, where it says Money."""
    # As text and not as Decimal, which raises what is no ValueError for an exponent of 20 digits.
    return msgspec.json.Decoder(shape, dec_hook=_decode_money, float_hook=str)


def _decode_money(kind: type, value: object) -> object:
    if kind is Money:
        return Money.parse(value)
    raise NotImplementedError(f"no decoder for {kind}")
