"""Payloads as JSON, refused where Postgres refuses them.

What is there twice in one object counts as it comes last, as in Postgres and in most parsers.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from catalogue.schema import MAX_DEPTH

# What Postgres' numeric holds.
MAX_DIGITS_BEFORE_POINT = 131_072
MAX_DIGITS_BEHIND_POINT = 16_383
# It refuses a larger exponent even of zero.
MAX_EXPONENT = (2**31 - 1) // 2

# Fifteen digits and a point: a double tells two such numbers apart, and which is larger.
MAX_USUAL_LENGTH = 16

# Before a number that is kept as it is written. No text begins so: none has a NUL.
WRITTEN = "\0"

# Longer integers are out of msgspec's range.
_LONG = re.compile(rb"[0-9]{4300,}")
_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)


class Unreadable(Exception):
    """Why a payload is nothing that a schema could be asked about."""


class Inexact(Exception):
    """A payload has a number that a double may not hold as it is written."""


def read(payload: bytes) -> Any:
    """Its value, with floats for what is no integer. Raises Unreadable and Inexact."""
    try:
        return _read(payload, _FLOATS)
    except msgspec.ValidationError:
        raise Inexact from None


def read_written(payload: bytes) -> Any:
    """Its value; a number that is no integer is a text: WRITTEN and how it is written.

    So is an integer of thousands of digits. Raises Unreadable.
    """
    try:
        return _read(payload, _WRITTEN)
    except msgspec.ValidationError:
        _read(_LONG.sub(b"1", payload), _WRITTEN)
        return json.loads(payload, parse_int=_written, parse_float=_written)


def _read(payload: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Raises Unreadable, and ValidationError for an integer out of range."""
    _check_depth(payload)
    try:
        value = decoder.decode(payload)
    except msgspec.ValidationError:
        raise
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise Unreadable("is no JSON in UTF-8") from None
    if b"\\u0000" in payload and b"\\u0000" in payload.replace(b"\\\\", b""):
        raise Unreadable("holds a NUL (\\u0000), which is no text for Postgres")
    return value


def _check_depth(payload: bytes) -> None:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKET.finditer(payload):
        depth += 1 if found[1] else -1 if found[2] else 0
        if depth > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels")


def _float(literal: str) -> float:
    if len(literal) > MAX_USUAL_LENGTH or "e" in literal or "E" in literal:
        raise Inexact
    return float(literal)


def _written(literal: str) -> str:
    try:
        value = Decimal(literal)
    except InvalidOperation:
        raise _too_large() from None
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "JSON has no NaN"
    if not -MAX_DIGITS_BEHIND_POINT <= exponent < MAX_EXPONENT:
        raise _too_large()
    if value and value.adjusted() >= MAX_DIGITS_BEFORE_POINT:
        raise _too_large()
    return WRITTEN + literal


def _too_large() -> Unreadable:
    return Unreadable("holds a number with more digits than Postgres has")


_FLOATS = msgspec.json.Decoder(float_hook=_float)
_WRITTEN = msgspec.json.Decoder(float_hook=_written)
