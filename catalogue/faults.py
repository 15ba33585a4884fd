"""What of a payload does not fit, in the same words wherever it is found."""

import json
from decimal import Decimal
from typing import Any, NamedTuple

MAX_DETAIL = 300


class Fault(NamedTuple):
    """`pointer` leads into the payload, `keyword` is of the schema; "json": it can't be read."""

    pointer: str
    keyword: str
    message: str


_DETAILS = {
    "additionalProperties": "no such property is declared",
    "allOf": "nothing fits here",
    "anyOf": "fits none of the alternatives",
    "contains": "does not hold the items that it has to, or too many of them",
    "dependentRequired": "is required beside another property",
    "dependentSchemas": "nothing fits here",
    "else": "nothing fits here",
    "false": "nothing fits here",
    "items": "no such item is declared",
    "not": "is what it must not be",
    "oneOf": "fits none of the alternatives, or more than one",
    "patternProperties": "no property may have this name",
    "prefixItems": "no such item is declared",
    "properties": "no property may have this name",
    "propertyNames": "has a property whose name does not fit",
    "required": "is required",
    "then": "nothing fits here",
    "uniqueItems": "has the same item twice",
}


def detail(keyword: str, value: Any) -> str:
    """What a keyword of this value finds fault with; of the payload it says nothing."""
    if keyword in _DETAILS:
        return _DETAILS[keyword]
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return f"does not fit {keyword}: {text}"[:MAX_DETAIL]


def _plain(value: Decimal) -> str:
    return f"{value:f}"
