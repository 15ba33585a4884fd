"""From a schema to rules that Postgres asks of each payload.

One rule decides, in one evaluation. What it can't count is measured beside it. Only where a payload
is refused are the single rules asked, each with its place, for the pointer and the keyword.
"""

from typing import Any, NamedTuple

from catalogue.faults import detail
from catalogue.rules import jsonpath, places
from catalogue.rules.jsonpath import FALSE, TRUE, every, found, negated, some
from catalogue.rules.measures import Measure, measured
from catalogue.rules.places import Place
from catalogue.rules.predicates import KEYWORDS, At, Predicates, asserted, contained, other_members
from catalogue.rules.untranslatable import Untranslatable
from catalogue.schema import MAX_DEPTH, Schema, escaped, resolve, target

# Of all rules together. They grow where conditions are told again and again.
MAX_CHARACTERS = 2_000_000

# In the names of Postgres, as outbox.payload_fits and outbox.payload_faults read them.
Rule = dict[str, Any]

_NOT_TOO_DEEP = negated(
    found(f"$.**{{{MAX_DEPTH}}}", some([jsonpath.is_type("object"), jsonpath.is_type("array")]))
)


class Rules(NamedTuple):
    """`decides` is a jsonpath; the others are JSON, for `outbox.payload_faults`.

    A payload fits where `decides` is true and every check holds.
    """

    decides: str
    singles: list[Rule]
    checks: list[Rule]


def translate(schema: Schema) -> Rules:
    """Raises Untranslatable for what can't be kept exactly in SQL where it stands."""
    try:
        predicates = Predicates(schema)
        fits = predicates.schema(schema, "", 1, alone=False)
        rules = Rules(f"strict {every([_NOT_TOO_DEEP, found('$', fits)])}", [], [])
        _Walk(predicates, rules).schema(schema, "", (), 1, "false")
    except RecursionError:
        raise Untranslatable("", "$ref", "its references lead too far in") from None
    return rules


class _Walk:
    """Through all that has to hold for the payload to fit, to a rule for each."""

    def __init__(self, predicates: Predicates, rules: Rules) -> None:
        self.predicates = predicates
        self.rules = rules
        self.characters = 0

    def schema(self, schema: Schema, pointer: str, place: Place, depth: int, applied: str) -> None:
        """`applied` is the keyword that the schema is applied by."""
        if schema is True or depth > MAX_DEPTH + 1:
            return
        if schema is False:
            self.single(place, applied, False, FALSE)
            return
        for keyword in asserted(schema):
            at = At(self.predicates, schema, keyword, pointer, depth, alone=False)
            if keyword in WAYS:
                WAYS[keyword](self, at, place)
            elif (measure := measured(schema, keyword)) is not None:
                self.check(at, place, measure)
            else:
                holds = self.predicates.keyword(schema, keyword, pointer, depth)
                self.single(place, keyword, at.value, holds)
            if self.characters > MAX_CHARACTERS:
                raise at.untranslatable("the schema says too much, once its rules are told apart")

    def single(self, place: Place, keyword: str, value: Any, holds: str, tail: str = "") -> None:
        if holds == TRUE:
            return
        self.characters += len(holds) + len(places.path(place))
        told = _told(place, keyword, value, tail)
        self.rules.singles.append({**told, "holds": holds})

    def check(self, at: At, place: Place, measure: Measure) -> None:
        own_type, _ = KEYWORDS[at.keyword]
        assert own_type is not None, "what is measured has one type"
        of_type = (*place, places.where(jsonpath.is_type(own_type)))
        path = places.path(of_type)
        check: Rule = {"path": path, "measure": measure.of, "least": measure.least}
        if measure.most is not None:
            check["most"] = measure.most
        if measure.of == "length" and measure.least == 0:
            check["holds_up_to"] = measure.most  # No text is longer than the payload around it.
        if measure.of == "matches":
            check["matches"] = f"strict $[*] ? ({contained(at)})"
        self.characters += 2 * len(path)
        told = _told(of_type, at.keyword, at.value, "")
        self.rules.checks.append({**told, **check})

    def inside(self, at: At, schema: Schema, place: Place, *way: str | int) -> None:
        self.schema(schema, at.way(*way), place, at.depth + 1, str(way[0]))

    def here(self, at: At, schema: Schema, place: Place, *way: str | int) -> None:
        self.schema(schema, at.way(*way), place, at.depth, str(way[0]))

    def required(self, at: At, place: Place) -> None:
        of_object = (*place, places.where(jsonpath.is_type("object")))
        for name in at.value:
            holds = negated(jsonpath.missing(name))
            self.single(of_object, "required", name, holds, f"/{escaped(name)}")

    def dependent_required(self, at: At, place: Place) -> None:
        for name, needed in at.value.items():
            there = every([jsonpath.is_type("object"), negated(jsonpath.missing(name))])
            for one in needed:
                holds = negated(jsonpath.missing(one))
                of_object = (*place, places.where(there))
                self.single(of_object, at.keyword, one, holds, f"/{escaped(one)}")

    def properties(self, at: At, place: Place) -> None:
        for name, schema in at.value.items():
            self.inside(at, schema, (*place, places.member(name)), "properties", name)

    def pattern_properties(self, at: At, place: Place) -> None:
        for pattern, schema in at.value.items():
            step = places.members(jsonpath.matches(at.spelled(pattern)))
            self.inside(at, schema, (*place, step), "patternProperties", pattern)

    def additional_properties(self, at: At, place: Place) -> None:
        others = other_members(at)
        if at.value is False and others == TRUE:
            # No member may be there at all, so none is named.
            empty = some([negated(jsonpath.is_type("object")), negated(found("@.*"))])
            self.single(place, at.keyword, False, empty)
        else:
            self.inside(at, at.value, (*place, places.members(others)), "additionalProperties")

    def prefix_items(self, at: At, place: Place) -> None:
        for index, schema in enumerate(at.value):
            self.inside(at, schema, (*place, places.item(index)), "prefixItems", index)

    def items(self, at: At, place: Place) -> None:
        step = places.items(len(at.schema.get("prefixItems", ())))
        self.inside(at, at.value, (*place, step), "items")

    def reference(self, at: At, place: Place) -> None:
        pointer = target(at.value)
        self.schema(resolve(self.predicates.root, pointer), pointer, place, at.depth, "$ref")

    def all_of(self, at: At, place: Place) -> None:
        for index, schema in enumerate(at.value):
            self.here(at, schema, place, "allOf", index)

    def condition(self, at: At, place: Place) -> None:
        holds = at.here(at.value, "if", decided=True)
        for branch, when in (("then", holds), ("else", negated(holds))):
            if branch in at.schema and when != FALSE:
                self.here(at, at.schema[branch], (*place, places.where(when)), branch)

    def dependent_schemas(self, at: At, place: Place) -> None:
        for name, schema in at.value.items():
            there = every([jsonpath.is_type("object"), negated(jsonpath.missing(name))])
            step = places.where(there)
            self.here(at, schema, (*place, step), "dependentSchemas", name)


# By which a schema leads on to others that have to hold as well.
WAYS = {
    "required": _Walk.required,
    "dependentRequired": _Walk.dependent_required,
    "properties": _Walk.properties,
    "patternProperties": _Walk.pattern_properties,
    "additionalProperties": _Walk.additional_properties,
    "prefixItems": _Walk.prefix_items,
    "items": _Walk.items,
    "$ref": _Walk.reference,
    "allOf": _Walk.all_of,
    "if": _Walk.condition,
    "dependentSchemas": _Walk.dependent_schemas,
}


def _told(place: Place, keyword: str, value: Any, tail: str) -> Rule:
    told = {
        "at": [step.told for step in place],
        "keyword": keyword,
        "detail": detail(keyword, value),
    }
    return {**told, "tail": tail} if tail else told
