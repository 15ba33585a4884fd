"""Predicates of jsonpath in strict mode, each of them true or false and never unknown.

Strict, because lax mode unwraps arrays: there `["EUR"] == "EUR"` holds. In strict mode a comparison
of two types and a name that is missing are unknown, and `!` and `&&` hand that on. So whatever
compares looks at the type first, and whatever steps inside does so in a filter, which takes what is
unknown for false. A predicate speaks of `@`, the value that it is asked about.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

TRUE = "1 == 1"
FALSE = "1 == 0"


def quoted(text: str) -> str:
    """A string literal, also as a name behind a dot."""
    return json.dumps(text, ensure_ascii=False)


def number(value: int | Decimal) -> str:
    return f"({value:f})" if isinstance(value, Decimal) else f"({value})"


def every(predicates: Iterable[str]) -> str:
    """All of them hold. What stands first is asked first, and guards the rest."""
    parts = [one for one in predicates if one != TRUE]
    if FALSE in parts:
        return FALSE
    return _joined(" && ", parts) or TRUE


def some(predicates: Iterable[str]) -> str:
    """One of them holds at least."""
    parts = [one for one in predicates if one != FALSE]
    if TRUE in parts:
        return TRUE
    return _joined(" || ", parts) or FALSE


def _joined(operator: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else operator.join(f"({one})" for one in parts)


def negated(predicate: str) -> str:
    if predicate in (TRUE, FALSE):
        return FALSE if predicate == TRUE else TRUE
    return f"!({predicate})"


def found(path: str, predicate: str = TRUE) -> str:
    """Something at the path holds to the predicate; unknown where there is no such path."""
    if predicate == FALSE:
        return FALSE
    return f"exists({path})" if predicate == TRUE else f"exists({path} ? ({predicate}))"


def missing(name: str) -> str:
    """An object has no member of this name."""
    return f"(exists(@.{quoted(name)})) is unknown"


def is_type(name: str) -> str:
    if name == "integer":  # By value: 1.0 is one.
        return '(@.type() == "number") && (@.floor() == @)'
    return f'@.type() == "{name}"'


def equals(value: Any) -> str:
    """`@` is this value of JSON."""
    if value is None:
        return is_type("null")
    if isinstance(value, bool):
        return every([is_type("boolean"), f"@ == {json.dumps(value)}"])
    if isinstance(value, int | Decimal):
        return every([is_type("number"), f"@ == {number(value)}"])
    if isinstance(value, str):
        return every([is_type("string"), f"@ == {quoted(value)}"])
    if isinstance(value, list):
        items = [found(f"@[{index}]", equals(one)) for index, one in enumerate(value)]
        return every([is_type("array"), f"@.size() == {len(value)}", *items])
    members = [found(f"@.{quoted(name)}", equals(one)) for name, one in value.items()]
    held = found("@", every(members)) if members else TRUE
    return every([is_type("object"), held, negated(found_member(other_than(value)))])


def other_than(names: Iterable[str]) -> str:
    """`@`, the name of a member, is none of these."""
    return every(f"@ != {quoted(name)}" for name in names)


def found_member(name_predicate: str, value_predicate: str = TRUE) -> str:
    """An object has a member of which both hold."""
    if value_predicate == FALSE:
        return FALSE
    if name_predicate == TRUE:
        return found("@.*", value_predicate)
    if value_predicate == TRUE:
        return found("@.keyvalue().key", name_predicate)
    both = [found("@.key", name_predicate), found("@.value", value_predicate)]
    return found("@.keyvalue()", every(both))


def matches(spelled: str) -> str:
    """A string matches; with the flag a class that is negated matches an end of line as well."""
    return f'@ like_regex {quoted(spelled)} flag "s"'
