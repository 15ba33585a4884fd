"""The reference: python-jsonschema, with numbers as they are written.

Where it leaves something to Python that ECMA 262 or RFC 3339 says otherwise, it is set right here,
by other means than the catalogue's.
"""

import calendar
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from catalogue import patterns
from catalogue.schema import Schema


def judge(schema: Schema) -> Callable[[bytes], bool]:
    """Says of one payload after the other, which are JSON, whether they fit."""
    validator = REFERENCE(schema, format_checker=FORMATS)

    def fits(payload: bytes) -> bool:
        value = json.loads(payload.decode(), parse_int=Decimal, parse_float=Decimal)
        return bool(validator.is_valid(value))

    return fits


def fits(schema: Schema, payload: bytes) -> bool:
    """Of a single one."""
    return judge(schema)(payload)


def is_number(_: object, value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_integer(_: object, value: object) -> bool:
    return (
        isinstance(value, int | Decimal)
        and not isinstance(value, bool)
        and Fraction(value) % 1 == 0
    )


def multiple_of(_: object, unit: Any, value: Any, __: object) -> Iterator[ValidationError]:
    if is_number(None, value) and (
        abs(Fraction(value)) >= 10**1000 or (Fraction(value) / Fraction(unit)).denominator != 1
    ):
        yield ValidationError("no multiple")


def pattern(_: object, wanted: str, value: Any, __: object) -> Iterator[ValidationError]:
    if isinstance(value, str) and not found(wanted, value):
        yield ValidationError("no match")


def pattern_properties(
    validator: Any, wanted: dict[str, Schema], value: Any, __: object
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for name, schema in wanted.items():
            for key in value:
                if found(name, key):
                    yield from validator.descend(value[key], schema, path=key, schema_path=name)


def additional_properties(
    validator: Any, wanted: Schema, value: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for key in value:
            declared = key in schema.get("properties", {})
            if not declared and not any(
                map(found, schema.get("patternProperties", {}), [key] * 99)
            ):
                yield from validator.descend(value[key], wanted, path=key)


def found(wanted: str, text: str) -> bool:
    # In Python $ stands before a last end of line as well, in ECMA 262 it does not.
    return re.search(patterns.spelled(wanted).replace("$", r"\Z"), text) is not None


REFERENCE: Any = extend(
    Draft202012Validator,
    {
        "multipleOf": multiple_of,
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", is_number).redefine(
        "integer", is_integer
    ),
)


def is_date(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII) is None:
        return False
    year, month, day = map(int, value.split("-"))
    # The calendar of Python begins with the year 1; that of RFC 3339 repeats every 400 years.
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 400, month)[1]


def is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    shape = r"(.{10})[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))"
    if (parts := re.fullmatch(shape, value, re.ASCII)) is None or not is_date(parts[1]):
        return False
    hour, minute, second, *offset = (int(one or 0) for one in parts.groups()[1:])
    return hour < 24 and minute < 60 and second < 60 and offset[0] < 24 and offset[1] < 60


def is_uuid(value: object) -> bool:
    if not isinstance(value, str):
        return True
    digits = value.split("-")
    return [len(one) for one in digits] == [8, 4, 4, 4, 12] and all(
        one in "0123456789abcdefABCDEF" for one in "".join(digits)
    )


def is_email(value: object) -> bool:
    if not isinstance(value, str):
        return True
    local, at, domain = value.rpartition("@")
    if not at or not local or not value.isascii() or "@" in local:
        return False
    if not all(one.isalnum() or one in ".!#$%&'*+/=?^_`{|}~-" for one in local):
        return False
    return all(
        label and all(one.isalnum() or one == "-" for one in label) and label.strip("-") == label
        for label in domain.split(".")
    )


FORMATS = FormatChecker(formats=())
for _name, _check in (
    ("date", is_date),
    ("date-time", is_date_time),
    ("uuid", is_uuid),
    ("email", is_email),
):
    FORMATS.checks(_name)(_check)
