"""Whether a payload fits, told in this process: the same answer as SQL's, in the same words."""

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from catalogue import exact, patterns, payloads
from catalogue.faults import Fault, detail
from catalogue.formats import FORMATS
from catalogue.schema import LISTS, MAPS, Schema, escaped, mapped


class Validator:
    """Of one schema, for any number of payloads. To make it takes about a millisecond."""

    def __init__(self, schema: Schema) -> None:
        self._written: dict[str, str] = {}
        self._schema = self._spelled(schema)
        self._usual = None if _has_unusual_numbers(schema) else _compiled(self._schema, {})
        self._exact: jsonschema_rs.Validator | None = None

    def faults(self, payload: bytes, limit: int = 20) -> tuple[Fault, ...]:
        """What of it does not fit, at most so many; none: it fits."""
        try:
            validator, value = self._read(payload)
        except payloads.Unreadable as unreadable:
            return (Fault("", "json", str(unreadable)),)
        if validator.is_valid(value):
            return ()
        found: dict[Fault, None] = {}
        for error in _errors(validator, value, limit):
            found.update(dict.fromkeys(self._told(error, value)))
            if len(found) >= limit:
                break
        return tuple(found)[:limit]

    def _read(self, payload: bytes) -> tuple[jsonschema_rs.Validator, Any]:
        """The value, and what to ask about it. Doubles are right for the numbers of every day."""
        if self._usual is not None:
            with suppress(payloads.Inexact):
                return self._usual, payloads.read(payload)
        return self._exactly(), payloads.read_written(payload)

    def _exactly(self) -> jsonschema_rs.Validator:
        if self._exact is None:
            tables: list[dict[str, Any]] = []
            schema = exact.exact(self._schema, tables)
            self._exact = _compiled(schema, {exact.KEYWORD: exact.keyword_class(tables)})
        return self._exact

    def _spelled(self, schema: Schema) -> Schema:
        """The same schema with every pattern in the common spelling, and formats as patterns."""
        changed = mapped(schema, self._spelled)
        if isinstance(changed, bool):
            return changed
        if "pattern" in changed:
            changed["pattern"] = self._spelled_pattern(changed["pattern"])
        if "patternProperties" in changed:
            changed["patternProperties"] = self._spelled_names(changed["patternProperties"])
        if (name := changed.get("format")) in FORMATS:
            pattern = {"pattern": patterns.spelled(FORMATS[name])}
            changed["allOf"] = [*changed.get("allOf", []), pattern]
        return changed

    def _spelled_names(self, schemas: dict[str, Schema]) -> dict[str, Schema]:
        spelled: dict[str, Schema] = {}
        for pattern, schema in schemas.items():
            name = self._spelled_pattern(pattern)
            spelled[name] = {"allOf": [spelled[name], schema]} if name in spelled else schema
        return spelled

    def _spelled_pattern(self, pattern: str) -> str:
        try:
            spelled = patterns.spelled(pattern)
        except patterns.OutsideSubset:
            spelled = pattern
        self._written[spelled] = pattern
        return spelled

    def _told(self, error: jsonschema_rs.ValidationError, value: Any) -> Iterator[Fault]:
        names, faulty = _followed(value, error.instance_path)
        pointer = "".join(f"/{escaped(name)}" for name in names)
        keyword, wanted = self._keyword(error)
        tails = [""]
        if isinstance(error.kind, Kind.Required):
            # Where an additional property is required, jsonschema_rs misses it as well.
            is_there = isinstance(faulty, dict) and error.kind.property in faulty
            tails = [] if is_there else [f"/{escaped(error.kind.property)}"]
        elif isinstance(error.kind, Kind.AdditionalProperties):
            tails = [f"/{escaped(name)}" for name in error.kind.unexpected]
        for tail in tails:
            yield Fault(pointer + tail, keyword, detail(keyword, wanted))

    def _keyword(self, error: jsonschema_rs.ValidationError) -> tuple[str, Any]:
        """Which keyword found fault, and its value."""
        kind, path = error.kind.name, error.schema_path
        if kind == "falseSchema":
            return _applied_by(error.evaluation_path), False
        if kind in ("propertyNames", "contains"):
            return kind, None
        if kind == exact.KEYWORD:
            path = [*path[:-1], error.message]
        _, value = _followed(self._schema, path)
        if kind == "pattern":
            return _FORMAT.get(value, ("pattern", self._written.get(value)))
        return str(path[-1]), value


# Of each format's pattern in the common spelling, what it stands for.
_FORMAT = {patterns.spelled(pattern): ("format", name) for name, pattern in FORMATS.items()}


def _errors(
    validator: jsonschema_rs.Validator, value: Any, limit: int
) -> Iterator[jsonschema_rs.ValidationError]:
    """`iter_errors` looks for all of them before it gives one: where one does, it comes last."""
    if limit == 1:
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            yield error
    yield from validator.iter_errors(value)


def _followed(value: Any, path: list[str | int]) -> tuple[list[str], Any]:
    """The names on a path into a value, and what stands there; None where they are ambiguous.

    A path of jsonschema_rs leaves out an empty name, and has one of digits as a number: 7 for 007.
    """
    names: list[str] = []
    for step in path:
        while isinstance(value, dict) and (name := _name(value, step)) is None and "" in value:
            names.append("")
            value = value[""]
        if isinstance(value, list):
            names.append(str(step))
            value = value[int(step)]
        elif isinstance(value, dict) and name is not None:
            names.append(name)
            value = value[name]
        else:
            names.append(str(step))
            value = None
    return names, value


def _name(members: dict[str, Any], step: str | int) -> str | None:
    """The name that a step of a path stands for."""
    if str(step) in members:
        return str(step)
    numbers = (name for name in members if name.isascii() and name.removeprefix("+").isdigit())
    return next((name for name in numbers if int(name[-20:]) == step), None)


def _applied_by(path: list[str | int]) -> str:
    """The last keyword on the way; names of members may read like keywords."""
    keyword = "false"
    steps = iter(path)
    for step in steps:
        keyword = str(step)
        if keyword in LISTS or keyword in MAPS:
            next(steps, None)
    return keyword


def _has_unusual_numbers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_unusual_numbers, value.values()))
    if isinstance(value, list):
        return any(map(_has_unusual_numbers, value))
    if isinstance(value, int | Decimal):
        return len(f"{Decimal(value):f}") >= payloads.MAX_USUAL_LENGTH
    return False


def _compiled(schema: Schema, keywords: dict[str, type]) -> jsonschema_rs.Validator:
    if isinstance(schema, dict):
        # What the schema is called is nothing to look up.
        schema = {name: schema[name] for name in schema if name not in ("$schema", "$id")}
    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=patterns.LINEAR, keywords=keywords, offline=True
    )
