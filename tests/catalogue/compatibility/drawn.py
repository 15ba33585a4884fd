"""Random schemas, changed ones, and values near their borders."""

import copy
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

Schema = Any
Json = Any

NAMES = ("a", "b", "c", "x-1", "x-2")
PATTERNS = ("^x-", "^a$", "[ab]+")
TEXTS = ("", "a", "b", "ab", "abc", "é", "x-1")
KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")


class Drawn:
    """All chance is of one seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def some(self, chance: float) -> bool:
        return self._random.random() < chance

    def one(self, choices: Any) -> Any:
        return self._random.choice(list(choices))

    def few(self, choices: Any, most: int = 3) -> list[Any]:
        known = list(choices)
        return self._random.sample(known, self._random.randint(0, min(most, len(known))))

    def count(self) -> int:
        return self._random.randint(0, 3)

    def number(self) -> Any:
        return self.one((-1, 0, 1, 2, 3, 5, Decimal("0.5"), Decimal("1.0"), Decimal("2.5")))

    # Schemas

    def schema(self, depth: int = 3) -> Schema:
        """Most say what a person would; some say anything."""
        if self.some(0.06):
            return self.one((True, False, {}, {"not": {}}))
        found: dict[str, Any] = {}
        # Most of what can go wrong goes wrong in objects.
        kinds = ["object"] if depth > 1 and self.some(0.4) else self.few(KINDS, 2)
        kinds = kinds or [self.one(KINDS)]
        if self.some(0.85):
            found["type"] = kinds[0] if len(kinds) == 1 and self.some(0.7) else kinds
        if self.some(0.12):
            found["enum"] = [self.value(1) for _ in range(self._random.randint(1, 3))]
        elif self.some(0.06):
            found["const"] = self.value(1)
        for kind in kinds if self.some(0.9) else KINDS:
            self._say(found, kind, depth)
        if depth > 0 and self.some(0.35):
            self._branch(found, depth - 1)
        return found

    def _say(self, found: dict[str, Any], kind: str, depth: int) -> None:
        match kind:
            case "integer" | "number":
                self._maybe(found, 0.25, minimum=self.number, maximum=self.number)
                self._maybe(found, 0.1, exclusiveMinimum=self.number, exclusiveMaximum=self.number)
                self._maybe(found, 0.1, multipleOf=lambda: self.one((1, 2, 3, Decimal("0.5"))))
            case "string":
                self._maybe(found, 0.25, minLength=self.count, maxLength=self.count)
                self._maybe(found, 0.1, pattern=lambda: self.one(PATTERNS))
            case "array" if depth > 0:
                self._array(found, depth - 1)
            case "object" if depth > 0:
                self._object(found, depth - 1)

    def _array(self, found: dict[str, Any], depth: int) -> None:
        self._maybe(found, 0.6, items=lambda: self.schema(depth))
        self._maybe(found, 0.2, prefixItems=lambda: [self.schema(depth) for _ in range(2)])
        self._maybe(found, 0.15, minItems=self.count, maxItems=self.count)
        self._maybe(found, 0.1, uniqueItems=lambda: self.some(0.8))
        self._maybe(found, 0.15, contains=lambda: self.schema(depth))
        if "contains" in found:
            self._maybe(found, 0.3, minContains=self.count, maxContains=self.count)

    def _object(self, found: dict[str, Any], depth: int) -> None:
        named = {name: self.schema(depth) for name in self.few(NAMES)}
        if named or self.some(0.3):
            found["properties"] = named
        self._maybe(found, 0.5, required=lambda: self.few(NAMES, 2))
        self._maybe(found, 0.2, patternProperties=lambda: self._patterned(depth))
        self._maybe(found, 0.3, additionalProperties=lambda: self._rest(depth))
        self._maybe(found, 0.1, minProperties=self.count, maxProperties=self.count)
        self._maybe(found, 0.15, propertyNames=lambda: self.one(self._names()))
        self._maybe(found, 0.15, dependentRequired=lambda: {self.one(NAMES): self.few(NAMES, 2)})
        self._maybe(found, 0.05, unevaluatedProperties=lambda: self._rest(depth))
        self._maybe(found, 0.05, dependentSchemas=lambda: {self.one(NAMES): self.schema(depth)})

    def _names(self) -> list[Schema]:
        return [{"pattern": "^x-"}, {"enum": list(NAMES[:3])}, {"maxLength": 2}, True]

    def _patterned(self, depth: int) -> dict[str, Schema]:
        return {pattern: self.schema(depth) for pattern in self.few(PATTERNS, 2)}

    def _rest(self, depth: int) -> Schema:
        return self.one((True, False, self.schema(depth), self.schema(depth)))

    def _branch(self, found: dict[str, Any], depth: int) -> None:
        word = self.one(("allOf", "anyOf", "anyOf", "oneOf", "oneOf", "not", "if"))
        if word == "not":
            found["not"] = self.schema(depth)
        elif word == "if":
            found["if"] = self.schema(depth)
            self._maybe(found, 0.7, then=lambda: self.schema(depth))
            found["else"] = self.schema(depth)
        else:
            found[word] = [self.schema(depth) for _ in range(self._random.randint(1, 3))]

    def _maybe(self, found: dict[str, Any], chance: float, **words: Callable[[], Any]) -> None:
        for word, make in words.items():
            if self.some(chance):
                found[word] = make()

    # Changes

    def changed(self, schema: Schema) -> Schema:
        """The schema with one to three small changes somewhere in it."""
        found = copy.deepcopy(schema)
        for _ in range(self._random.randint(1, 3)):
            places = [one for one in _schemas(found) if isinstance(one, dict)]
            if places:
                self._change(self.one(places))
        return found

    def _change(self, place: dict[str, Any]) -> None:
        kinds = place.get("type", KINDS)
        if place and self.some(0.25):
            del place[self.one(place)]
        elif "enum" in place and self.some(0.5):
            place["enum"] = [*place["enum"], self.value(1)]
        elif self.some(0.5):
            self._say(place, kinds if isinstance(kinds, str) else self.one(kinds), 1)
        else:
            other = self.schema(1)
            if isinstance(other, dict):
                place.update({word: other[word] for word in self.few(other, 1)})
        if "then" in place or "else" in place:
            place.setdefault("if", True)

    # Values

    def value(self, depth: int = 2) -> Json:
        kind = self.one(KINDS if depth > 0 else KINDS[:5])
        match kind:
            case "null":
                return None
            case "boolean":
                return self.some(0.5)
            case "integer":
                return self._random.randint(-2, 6)
            case "number":
                return self.number()
            case "string":
                return self.one(TEXTS)
            case "array":
                return [self.value(depth - 1) for _ in range(self.count())]
            case _:
                return {name: self.value(depth - 1) for name in self.few(NAMES)}

    def near(self, schema: Schema, depth: int = 4) -> Json:
        """A value that has a good chance to keep to the schema."""
        if isinstance(schema, bool) or depth == 0 or self.some(0.05):
            return self.value(1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema and self.some(0.9):
            return self.one(schema["enum"])
        merged = dict(schema)
        for word in ("allOf", "anyOf", "oneOf"):
            parts = schema.get(word, ())
            for part in parts if word == "allOf" else [self.one(parts)] if parts else ():
                merged = _merged(merged, part)
        if "const" in merged or ("enum" in merged and self.some(0.9)):
            return merged["const"] if "const" in merged else self.one(merged["enum"])
        kinds = merged.get("type", KINDS)
        return self._near(merged, kinds if isinstance(kinds, str) else self.one(kinds), depth)

    def _near(self, schema: dict[str, Any], kind: str, depth: int) -> Json:
        match kind:
            case "integer" | "number":
                borders = [schema.get(word, 0) for word in ("minimum", "maximum", "multipleOf")]
                step = self.one((-1, 0, 0, 1, Decimal("0.5") if kind == "number" else 1))
                return self.one(borders) + step
            case "string":
                return self.one(TEXTS)
            case "array":
                first = [self.near(one, depth - 1) for one in schema.get("prefixItems", ())]
                count = max(self.count(), schema.get("minItems", 0))
                rest = (self.near(schema.get("items", True), depth - 1) for _ in range(count))
                return [*first, *rest][: max(count, len(first))]
            case "object":
                return self._near_object(schema, depth)
            case "boolean":
                return self.some(0.5)
            case _:
                return None

    def _near_object(self, schema: dict[str, Any], depth: int) -> Json:
        named, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        chosen = {*schema.get("required", ()), *self.few(named)}
        if self.some(0.4):
            chosen |= {*self.few(NAMES)}
        return {name: self.near(named.get(name, rest), depth - 1) for name in sorted(chosen)}


def _merged(mine: dict[str, Any], other: Schema) -> dict[str, Any]:
    if isinstance(other, bool):
        return mine
    found = {**mine, **other}
    if "properties" in mine and "properties" in other:
        found["properties"] = {**mine["properties"], **other["properties"]}
    if "required" in mine and "required" in other:
        found["required"] = [*mine["required"], *other["required"]]
    return found


def _schemas(schema: Schema) -> list[Schema]:
    if isinstance(schema, bool):
        return [schema]
    found = [schema]
    for word in ("allOf", "anyOf", "oneOf", "prefixItems"):
        found += [inner for one in schema.get(word, ()) for inner in _schemas(one)]
    for word in ("properties", "patternProperties", "dependentSchemas"):
        found += [inner for one in schema.get(word, {}).values() for inner in _schemas(one)]
    for word in ("items", "additionalProperties", "contains", "not", "if", "then", "else"):
        found += _schemas(schema[word]) if word in schema else []
    return found
