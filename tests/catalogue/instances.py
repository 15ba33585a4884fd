"""Payloads near the borders of a schema: most fit but for one thing, or fit just so."""

import json
from decimal import Decimal
from random import Random
from typing import Any

from catalogue.schema import Schema, resolve, target
from tests.catalogue.schemas import NAMES, NUMBERS, PATTERNS, TEXTS


class Number(str):
    """A number of JSON as it is written."""


FORMATTED = [
    "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", "2026-11-30",
    "2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "0000-02-29", "2026-04-31",
    "2026-11-30T12:00:00Z", "2026-11-30t23:59:59.123456789-23:59", "2026-11-30T24:00:00Z",
    "2026-12-31T23:59:60Z", "2026-11-30 12:00:00Z", "2026-11-30T12:00:00", "2026-11-30T12:00:00Z\n",
    "someone@example.org", "a@b", "a@b.-c", "a@@b", "@b", "a b@c", "ä@b.de", "a@b.", "a.@b",
]  # fmt: skip
TYPES = ["null", "boolean", "number", "integer", "string", "array", "object"]


def written(value: Any, random: Random, twice: float = 0.0) -> str:
    """As JSON, with numbers as they are written; `twice`: the chance of a name to come again."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        names = [written(name, random) for name in value]
        members = [written(one, random, twice) for one in value.values()]
        if names and random.random() < twice:
            names.insert(0, names[0])  # The last one counts.
            members.insert(0, "[null]")
        return "{" + ", ".join(map(":".join, zip(names, members, strict=True))) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one, random, twice) for one in value) + "]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


class Near:
    """Makes values near the borders of the schemas of one document."""

    def __init__(self, root: Schema, random: Random) -> None:
        self.root = root
        self.random = random

    def payload(self) -> bytes:
        return written(self.value(self.root, 0), self.random, twice=0.03).encode()

    def value(self, schema: Schema, depth: int) -> Any:
        random = self.random
        if isinstance(schema, bool) or random.random() < 0.04:
            return self.anything(depth)
        if depth < 6 and (others := self.others(schema)) and random.random() < 0.6:
            chosen = random.choice(others)
            if isinstance(chosen, dict):
                # Both have to hold, so both speak of the value.
                merged = {**schema, **chosen}
                merged["properties"] = {
                    **schema.get("properties", {}), **chosen.get("properties", {})
                }  # fmt: skip
                for keyword in ("allOf", "anyOf", "oneOf", "not", "if", "$ref"):
                    merged.pop(keyword, None)
                    if keyword in chosen:
                        merged[keyword] = chosen[keyword]
                schema = merged
        if "const" in schema and random.random() < 0.8:
            return self.same(schema["const"])
        if "enum" in schema and random.random() < 0.8:
            return self.same(random.choice(schema["enum"]))
        return self.of_type(schema, self.type(schema), depth)

    def others(self, schema: dict[str, Any]) -> list[Schema]:
        """What else is said of the same value."""
        found = [one for keyword in ("allOf", "anyOf", "oneOf") for one in schema.get(keyword, ())]
        found += [schema[one] for one in ("not", "if", "then", "else") if one in schema]
        found += schema.get("dependentSchemas", {}).values()
        if "$ref" in schema:
            found += [resolve(self.root, target(schema["$ref"]))] * 3
        return found

    def type(self, schema: dict[str, Any]) -> str:
        names = schema.get("type", TYPES)
        if isinstance(names, str):
            names = [names]
        if "type" not in schema:
            keywords = {
                "minLength": "string", "maxLength": "string", "pattern": "string",
                "format": "string", "minimum": "number", "maximum": "number",
                "multipleOf": "number", "exclusiveMinimum": "number",
                "exclusiveMaximum": "number", "properties": "object", "required": "object",
                "patternProperties": "object", "additionalProperties": "object",
                "propertyNames": "object", "minProperties": "object", "maxProperties": "object",
                "dependentRequired": "object", "dependentSchemas": "object", "items": "array",
                "prefixItems": "array", "contains": "array", "uniqueItems": "array",
                "minItems": "array", "maxItems": "array",
            }  # fmt: skip
            names = [keywords[one] for one in schema if one in keywords] or names
        name: str = self.random.choice(names if self.random.random() < 0.93 else TYPES)
        return name

    def of_type(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        if name == "null":
            return None
        if name == "boolean":
            return self.random.random() < 0.5
        if name in ("number", "integer"):
            return self.number(schema, name)
        if name == "string":
            return self.text(schema)
        if depth > 6:
            return [] if name == "array" else {}
        return self.array(schema, depth) if name == "array" else self.object(schema, depth)

    def number(self, schema: dict[str, Any], name: str) -> Number:
        random = self.random
        bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        near = [Decimal(schema[one]) for one in bounds if one in schema]
        value = (
            random.choice(near)
            if near and random.random() < 0.8
            else Decimal(random.choice(NUMBERS))
        )
        if "multipleOf" in schema and random.random() < 0.8:
            unit = Decimal(schema["multipleOf"])
            value = (value // unit) * unit if abs(value) < 10**9 and unit > 10**-9 else unit * 3
        steps = ["0", "0", "0", "1", "-1", "0.5", "0.01", "1e-20", "-1e-30"]
        value += Decimal(random.choice(steps))
        if name == "integer" and random.random() < 0.9:
            value = value.to_integral_value()
        forms = [f"{value:f}", f"{value:f}", f"{value:e}", str(value)]
        if value == value.to_integral_value():
            forms += [f"{value:f}.0" if "." not in f"{value:f}" else f"{value:f}", f"{value:f}"]
        return Number(random.choice(forms))

    def text(self, schema: dict[str, Any]) -> str:
        random = self.random
        if "pattern" in schema and random.random() < 0.8:
            text = random.choice(PATTERNS.get(schema["pattern"], TEXTS))
        elif "format" in schema and random.random() < 0.9:
            text = random.choice(FORMATTED)
        else:
            text = random.choice(TEXTS)
        lengths = [schema[one] for one in ("minLength", "maxLength") if one in schema]
        if lengths and random.random() < 0.8:
            length = max(0, random.choice(lengths) + random.choice([-1, 0, 0, 1]))
            text = (text or random.choice(["a", "é", "😀"])) * (length // max(1, len(text)) + 1)
            text = text[:length]
        return text

    def array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        random = self.random
        bounds = ("minItems", "maxItems", "minContains", "maxContains")
        lengths = [schema[one] for one in bounds if one in schema] + [
            len(schema.get("prefixItems", ()))
        ]
        length = max(0, random.choice(lengths) + random.choice([-1, 0, 0, 1, 2]))
        prefix = schema.get("prefixItems", [])
        made = []
        for index in range(min(length, 300)):
            one = prefix[index] if index < len(prefix) else schema.get("items", True)
            if "contains" in schema and random.random() < 0.5:
                one = schema["contains"]
            made.append(self.value(one, depth + 1))
        if made and schema.get("uniqueItems") and random.random() < 0.3:
            made.append(random.choice(made))
        return made

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        random = self.random
        wanted = dict.fromkeys(one for one in schema.get("required", ()) if random.random() < 0.95)
        declared = schema.get("properties", {})
        wanted.update(dict.fromkeys(one for one in declared if random.random() < 0.6))
        for name, needed in schema.get("dependentRequired", {}).items():
            if random.random() < 0.5:
                wanted.update(dict.fromkeys([name, *needed][: random.randint(1, 1 + len(needed))]))
        bounds = [schema[one] for one in ("minProperties", "maxProperties") if one in schema]
        extra = 1 if random.random() < 0.15 else 0
        if bounds and random.random() < 0.8:
            extra = random.choice(bounds) + random.choice([-1, 0, 0, 1]) - len(wanted)
        spare = list(NAMES)
        random.shuffle(spare)
        wanted.update(dict.fromkeys(spare[: max(0, extra)]))
        names = list(wanted)
        random.shuffle(names)
        return {name: self.value(self.declared(schema, name), depth + 1) for name in names}

    def declared(self, schema: dict[str, Any], name: str) -> Schema:
        found: Schema | None = schema.get("properties", {}).get(name)
        if found is None:
            others = [*schema.get("patternProperties", {}).values()]
            others.append(schema.get("additionalProperties", True))
            found = self.random.choice(others)
        return True if found is False else found

    def same(self, value: Any) -> Any:
        """The same value, or almost."""
        random = self.random
        if isinstance(value, bool) or value is None:
            return value if random.random() < 0.8 else random.choice([0, 1, False, "null"])
        if isinstance(value, int | Decimal):
            return self.number({"minimum": value}, "number")
        if isinstance(value, str):
            return value if random.random() < 0.8 else value + random.choice(["", " ", "x"])
        if isinstance(value, list):
            same = [self.same(one) for one in value]
            return same if random.random() < 0.8 else [*same, None]
        members = {name: self.same(one) for name, one in value.items()}
        return members if random.random() < 0.8 else {**members, "more": Number("1")}

    def anything(self, depth: int) -> Any:
        return self.of_type({}, self.random.choice(TYPES), depth + 2)
