"""What each keyword of a schema asks of a value, as a predicate of jsonpath."""

from collections.abc import Callable
from typing import Any, NamedTuple

from catalogue import patterns
from catalogue.formats import FORMATS
from catalogue.rules import jsonpath
from catalogue.rules.jsonpath import FALSE, TRUE, every, found, found_member, negated, some
from catalogue.rules.measures import measured
from catalogue.rules.untranslatable import Untranslatable
from catalogue.schema import MAX_DEPTH, Schema, escaped, resolve, target

ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})

# Numbers from here on have so many digits that a division would hold up the publisher. They are
# multiples of nothing.
TOO_LARGE_TO_DIVIDE = "1e1000"

# What can't be left to a measure is counted by a pattern of so many states. It takes 20 µs.
MAX_COUNTED_LENGTH = 1_000

# Of all predicates that were put together on the way, and for each of them: they grow where
# references multiply.
MAX_CHARACTERS = 1_000_000
CHARACTERS_OF_A_KEYWORD = 50


class Predicates:
    """Of one document. A place is translated as often as references lead there."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self._made = 0

    def schema(
        self,
        schema: Schema,
        pointer: str,
        depth: int,
        *,
        alone: bool,
        types: frozenset[str] = ALL_TYPES,
    ) -> str:
        """The value fits the schema. `depth` is how deep the value is nested.

        `alone`: the predicate says everything. Otherwise what is measured beside it is left to
        that. `types` are those that the value may have.
        """
        if isinstance(schema, bool):
            return TRUE if schema else FALSE
        if depth > MAX_DEPTH + 1:
            return TRUE  # No payload has a value so far in.
        parts = []
        for keyword in asserted(schema):
            parts.append(self.keyword(schema, keyword, pointer, depth, alone=alone, types=types))
            if keyword == "type":
                types = types & allowed(schema["type"])
        return every(parts)

    def keyword(
        self,
        schema: dict[str, Any],
        keyword: str,
        pointer: str,
        depth: int,
        *,
        alone: bool = True,
        types: frozenset[str] = ALL_TYPES,
    ) -> str:
        """The value is as this keyword wants it; other types than the keyword's own pass."""
        own_type, translate = KEYWORDS[keyword]
        if own_type is not None and own_type not in types:
            return TRUE
        if not alone and measured(schema, keyword) is not None:
            return TRUE
        at = At(self, schema, keyword, pointer, depth, alone)
        predicate = translate(at)
        self._made += CHARACTERS_OF_A_KEYWORD + len(predicate)
        if self._made > MAX_CHARACTERS:
            raise at.untranslatable("the schema says too much, once its references are followed")
        if own_type is None or types == {own_type} or predicate == TRUE:
            return predicate
        return some([negated(jsonpath.is_type(own_type)), predicate])


class At(NamedTuple):
    """One keyword, where it stands."""

    predicates: Predicates
    schema: dict[str, Any]
    keyword: str
    pointer: str
    depth: int
    alone: bool

    @property
    def value(self) -> Any:
        return self.schema[self.keyword]

    def here(self, schema: Schema, *way: str | int, decided: bool = False) -> str:
        """The same value fits. `decided`: what follows hangs on whether it does."""
        alone = decided or self.alone
        return self.predicates.schema(schema, self.way(*way), self.depth, alone=alone)

    def inside(
        self,
        schema: Schema,
        *way: str | int,
        decided: bool = False,
        types: frozenset[str] = ALL_TYPES,
    ) -> str:
        """A value one level further in fits."""
        return self.predicates.schema(
            schema, self.way(*way), self.depth + 1, alone=decided or self.alone, types=types
        )

    def way(self, *steps: str | int) -> str:
        """The pointer of what stands there, from this schema on."""
        return self.pointer + "".join(f"/{escaped(str(step))}" for step in steps)

    def spelled(self, pattern: str) -> str:
        try:
            return patterns.spelled(pattern)
        except patterns.OutsideSubset as outside:
            raise self.untranslatable(f"{pattern!r:.200} has {outside}") from None

    def untranslatable(self, reason: str) -> Untranslatable:
        return Untranslatable(self.pointer, self.keyword, reason)


def asserted(schema: dict[str, Any]) -> list[str]:
    """The keywords of a schema that assert something, in the order in which they are asked."""
    return [keyword for keyword in KEYWORDS if keyword in schema]


def allowed(value: str | list[str]) -> frozenset[str]:
    """The types that jsonpath tells apart, of what `type` says."""
    names = [value] if isinstance(value, str) else value
    return frozenset("number" if name == "integer" else name for name in names)


def other_members(at: At) -> str:
    """`@`, the name of a member, is one that `additionalProperties` is about."""
    names = at.schema.get("properties", ())
    spelled = map(at.spelled, at.schema.get("patternProperties", ()))
    unnamed = [f"@ != {jsonpath.quoted(name)}" for name in names]
    return every([*unnamed, *(negated(jsonpath.matches(one)) for one in spelled)])


def _type(at: At) -> str:
    names = [at.value] if isinstance(at.value, str) else at.value
    return some(
        jsonpath.is_type(name) for name in names if name != "integer" or "number" not in names
    )


def _const(at: At) -> str:
    return jsonpath.equals(at.value)


def _enum(at: At) -> str:
    return some(jsonpath.equals(one) for one in at.value)


def _bound(operator: str) -> Callable[[At], str]:
    return lambda at: f"@ {operator} {jsonpath.number(at.value)}"


def _multiple_of(at: At) -> str:
    limit = TOO_LARGE_TO_DIVIDE
    small = f"@ < {limit} && @ > (-{limit})"
    return every([small, f"@ % {jsonpath.number(at.value)} == 0"])


def _length(at: At) -> str:
    if at.keyword == "minLength":
        return TRUE if at.value == 0 else _at_least(at, at.value)
    return negated(_at_least(at, at.value + 1))


def _at_least(at: At, length: int) -> str:
    """So many characters. Such a pattern, without anchors, Postgres tells by the length alone."""
    if length == 1:
        return '@ != ""'
    if length > MAX_COUNTED_LENGTH:
        raise at.untranslatable(f"here it can be counted to {MAX_COUNTED_LENGTH} only")
    times, rest = divmod(length, patterns.MAX_COUNT)
    counted = f"(?:.{{{patterns.MAX_COUNT}}}){{{times}}}" if times else ""
    return jsonpath.matches(counted + (f".{{{rest}}}" if rest else ""))


def _pattern(at: At) -> str:
    return jsonpath.matches(at.spelled(at.value))


def _format(at: At) -> str:
    return jsonpath.matches(patterns.spelled(FORMATS[at.value])) if at.value in FORMATS else TRUE


def _min_items(at: At) -> str:
    return f"@.size() >= {at.value}" if at.value else TRUE


def _max_items(at: At) -> str:
    return f"@.size() <= {at.value}"


def _prefix_items(at: At) -> str:
    parts = []
    for index, schema in enumerate(at.value):
        fits = at.inside(schema, "prefixItems", index)
        if fits != TRUE:
            parts.append(some([f"@.size() <= {index}", found(f"@[{index}]", fits)]))
    return every(parts)


def _items(at: At) -> str:
    first = len(at.schema.get("prefixItems", ()))
    misfit = negated(at.inside(at.value, "items"))
    if misfit == FALSE:
        return TRUE
    if misfit == TRUE:
        return f"@.size() <= {first}"
    if first == 0:
        return negated(found("@[*]", misfit))
    return some([f"@.size() <= {first}", negated(found(f"@[{first} to last]", misfit))])


def _contains(at: At) -> str:
    least, most = at.schema.get("minContains", 1), at.schema.get("maxContains")
    one = found("@[*]", contained(at))
    if measured(at.schema, "contains") is not None:
        raise at.untranslatable("how many there are can't be counted here")
    if most == 0:
        return negated(one) if least == 0 else FALSE
    return one if least else TRUE


def contained(at: At) -> str:
    """An item is one that `contains` is about."""
    return at.inside(at.value, "contains", decided=True)


def _unique_items(at: At) -> str:
    if at.value:
        raise at.untranslatable("items can't be compared with each other here")
    return TRUE


def _required(at: At) -> str:
    return every(negated(jsonpath.missing(name)) for name in at.value)


def _properties(at: At) -> str:
    misfits = [
        found(f"@.{jsonpath.quoted(name)}", negated(at.inside(schema, "properties", name)))
        for name, schema in at.value.items()
    ]
    misfit = some(misfits)
    return TRUE if misfit == FALSE else negated(found("@", misfit))


def _pattern_properties(at: At) -> str:
    misfits = [
        found_member(
            jsonpath.matches(at.spelled(pattern)),
            negated(at.inside(schema, "patternProperties", pattern)),
        )
        for pattern, schema in at.value.items()
    ]
    return negated(some(misfits))


def _additional_properties(at: At) -> str:
    misfit = negated(at.inside(at.value, "additionalProperties"))
    return negated(found_member(other_members(at), misfit))


def _property_names(at: At) -> str:
    strings = frozenset({"string"})
    misfit = negated(at.inside(at.value, "propertyNames", decided=True, types=strings))
    return negated(found("@.*") if misfit == TRUE else found("@.keyvalue().key", misfit))


def _members(at: At) -> str:
    if measured(at.schema, at.keyword) is not None:
        raise at.untranslatable("members can't be counted here")
    if at.keyword == "maxProperties":
        return negated(found("@.*"))
    return found("@.*") if at.value else TRUE


def _dependent_required(at: At) -> str:
    return every(
        some([jsonpath.missing(name), every(negated(jsonpath.missing(one)) for one in needed)])
        for name, needed in at.value.items()
    )


def _dependent_schemas(at: At) -> str:
    return every(
        some([jsonpath.missing(name), at.here(schema, "dependentSchemas", name)])
        for name, schema in at.value.items()
    )


def _all_of(at: At) -> str:
    return every(at.here(schema, "allOf", index) for index, schema in enumerate(at.value))


def _any_of(at: At) -> str:
    branches = enumerate(at.value)
    return some(at.here(schema, "anyOf", index, decided=True) for index, schema in branches)


def _one_of(at: At) -> str:
    branches = [
        at.here(schema, "oneOf", index, decided=True) for index, schema in enumerate(at.value)
    ]
    one = FALSE
    for index in reversed(range(len(branches))):
        # Of those from here on: this one and none behind it, or not this one and one behind it.
        alone = every([branches[index], *map(negated, branches[index + 1 :])])
        one = some([alone, every([negated(branches[index]), one])])
    return one


def _not(at: At) -> str:
    return negated(at.here(at.value, "not", decided=True))


def _if(at: At) -> str:
    then, otherwise = (at.here(at.schema.get(branch, True), branch) for branch in ("then", "else"))
    if then == otherwise == TRUE:
        return TRUE
    condition = at.here(at.value, "if", decided=True)
    return every([some([negated(condition), then]), some([condition, otherwise])])


def _ref(at: At) -> str:
    pointer = target(at.value)
    schema = resolve(at.predicates.root, pointer)
    return at.predicates.schema(schema, pointer, at.depth, alone=at.alone)


def _unknown(at: At) -> str:
    raise at.untranslatable("it hangs on what other keywords have looked at")


# In the order in which they are asked, each with the only type that it is about.
KEYWORDS: dict[str, tuple[str | None, Callable[[At], str]]] = {
    "type": (None, _type),
    "const": (None, _const),
    "enum": (None, _enum),
    "minimum": ("number", _bound(">=")),
    "maximum": ("number", _bound("<=")),
    "exclusiveMinimum": ("number", _bound(">")),
    "exclusiveMaximum": ("number", _bound("<")),
    "multipleOf": ("number", _multiple_of),
    "minLength": ("string", _length),
    "maxLength": ("string", _length),
    "pattern": ("string", _pattern),
    "format": ("string", _format),
    "required": ("object", _required),
    "minProperties": ("object", _members),
    "maxProperties": ("object", _members),
    "propertyNames": ("object", _property_names),
    "dependentRequired": ("object", _dependent_required),
    "properties": ("object", _properties),
    "patternProperties": ("object", _pattern_properties),
    "additionalProperties": ("object", _additional_properties),
    "minItems": ("array", _min_items),
    "maxItems": ("array", _max_items),
    "uniqueItems": ("array", _unique_items),
    "prefixItems": ("array", _prefix_items),
    "items": ("array", _items),
    "contains": ("array", _contains),
    "$ref": (None, _ref),
    "allOf": (None, _all_of),
    "anyOf": (None, _any_of),
    "oneOf": (None, _one_of),
    "not": (None, _not),
    "if": (None, _if),
    "dependentSchemas": ("object", _dependent_schemas),
    "unevaluatedItems": ("array", _unknown),
    "unevaluatedProperties": ("object", _unknown),
}
