"""Each rule, with where it points and whom it harms."""

from decimal import Decimal
from typing import Any

import pytest

from catalogue.compatibility import breaks
from catalogue.compatibility.words import RULES

Schema = Any

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
PATTERN = "^[a-z]+$"


def thing(**words: Any) -> Schema:
    return {"type": "object", **words}


def things(**words: Any) -> Schema:
    return {"type": "array", **words}


def choice(*kinds: str, **words: Any) -> Schema:
    """A tagged union."""
    return {"oneOf": [one_kind(kind, **words) for kind in kinds]}


def one_kind(kind: str, **words: Any) -> Schema:
    return thing(properties={"kind": {"const": kind}, **words}, required=["kind"])


TREE: Schema = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": thing(
            properties={"value": WHOLE, "children": things(items={"$ref": "#/$defs/node"})},
            required=["value"],
        )
    },
}

# A wider schema, a narrower one, and where and by which rules they differ: forward from the narrow
# one to the wide one, backward from the wide one to the narrow one. The other ways nothing breaks.
RULE_CASES: dict[str, tuple[Schema, Schema, str, str, str]] = {
    "minimum": (WHOLE, {**WHOLE, "minimum": 0}, "/minimum", "bound_widened", "bound_narrowed"),
    "exclusive bound": (
        {"type": "number", "maximum": 5},
        {"type": "number", "exclusiveMaximum": 5},
        "/exclusiveMaximum",
        "bound_widened",
        "bound_narrowed",
    ),
    "multipleOf in decimals": (
        {"type": "number", "multipleOf": Decimal("0.01")},
        {"type": "number", "multipleOf": Decimal("0.05")},
        "/multipleOf",
        "bound_widened",
        "bound_narrowed",
    ),
    "minLength": (TEXT, {**TEXT, "minLength": 1}, "/minLength", "bound_widened", "bound_narrowed"),
    "pattern": (
        TEXT,
        {**TEXT, "pattern": PATTERN},
        "/pattern",
        "pattern_removed",
        "pattern_added",
    ),
    "format": (TEXT, {**TEXT, "format": "uuid"}, "/format", "format_removed", "format_added"),
    "list of values": (TEXT, {"enum": ["a"]}, "/enum", "enum_removed", "enum_added"),
    "list of wholes": (
        {"enum": [[1], {"a": 1}, {"a": 2}]},
        {"enum": [[1], {"a": 1}]},
        "/enum",
        "enum_value_added",
        "enum_value_removed",
    ),
    "items": (
        things(items={"type": "number"}),
        things(items=WHOLE),
        "/items/type",
        "integer_to_number",
        "number_to_integer",
    ),
    "first items": (
        things(prefixItems=[True, {"type": ["string", "null"]}]),
        things(prefixItems=[True, TEXT]),
        "/prefixItems/1/type",
        "type_added",
        "type_removed",
    ),
    "maxItems": (
        things(maxItems=4),
        things(maxItems=3),
        "/maxItems",
        "bound_widened",
        "bound_narrowed",
    ),
    "uniqueItems": (
        things(),
        things(uniqueItems=True),
        "/uniqueItems",
        "unique_items_removed",
        "unique_items_added",
    ),
    "contains": (
        things(),
        things(contains=TEXT),
        "/contains",
        "contains_removed",
        "contains_added",
    ),
    "maxProperties": (
        thing(maxProperties=3),
        thing(maxProperties=2),
        "/maxProperties",
        "bound_widened",
        "bound_narrowed",
    ),
    "propertyNames": (
        thing(),
        thing(propertyNames={"maxLength": 3}),
        "/propertyNames",
        "property_names_widened",
        "property_names_narrowed",
    ),
    "dependentRequired": (
        thing(properties={"a": True, "b": True}),
        thing(properties={"a": True, "b": True}, dependentRequired={"a": ["b"]}),
        "/dependentRequired",
        "dependent_required_removed",
        "dependent_required_added",
    ),
    "the rest of the properties": (
        thing(additionalProperties=True),
        thing(additionalProperties=WHOLE),
        "/additionalProperties",
        "any_value_added",
        "any_value_removed",
    ),
    "properties by pattern": (
        thing(patternProperties={PATTERN: {"type": "number"}}),
        thing(patternProperties={PATTERN: WHOLE}),
        "/patternProperties/^[a-z]+$/type",
        "integer_to_number",
        "number_to_integer",
    ),
    "branch": (
        choice("card", "cash"),
        choice("card"),
        "/oneOf/1",
        "branch_added",
        "branch_removed",
    ),
    "inside a branch": (
        choice("card", "cash", amount={"type": "number"}),
        choice("card", "cash", amount=WHOLE),
        "/oneOf/0/properties/amount/type",
        "integer_to_number",
        "number_to_integer",
    ),
    "behind a reference": (
        {"$ref": "#/$defs/m", "$defs": {"m": {"type": "number"}}},
        {"$ref": "#/$defs/m", "$defs": {"m": WHOLE}},
        "/$defs/m/type",
        "integer_to_number",
        "number_to_integer",
    ),
    "nothing at all": (TEXT, False, "", "value_added", "value_removed"),
}


@pytest.mark.parametrize("case", RULE_CASES)
def test_what_is_wider_breaks_one_side_and_what_is_narrower_the_other(case: str) -> None:
    wide, narrow, pointer, widened, narrowed = RULE_CASES[case]
    forward = breaks(narrow, wide, direction="forward")
    backward = breaks(wide, narrow, direction="backward")
    assert (forward[0].rule, backward[0].rule) == (widened, narrowed)
    assert forward[0].pointer == pointer
    assert breaks(narrow, wide, direction="backward") == ()
    assert breaks(wide, narrow, direction="forward") == ()


@pytest.mark.parametrize(
    ("former", "new"),
    [
        ({**TEXT, "pattern": "^a"}, {**TEXT, "pattern": "^(a|b)"}),
        ({**TEXT, "format": "uri"}, {**TEXT, "format": "iri"}),
        ({"not": WHOLE}, {"not": {"type": "number", "minimum": 1}}),
        ({"if": TEXT, "then": {"minLength": 1}}, {"if": TEXT, "then": {"minLength": 2}}),
        (thing(dependentSchemas={"a": False}), thing(dependentSchemas={"b": False})),
        (things(unevaluatedItems=False), things(unevaluatedItems=WHOLE)),
        (
            {"oneOf": [{"minLength": 2}, {"maxLength": 3}]},
            {"oneOf": [{"minLength": 2}, {"maxLength": 4}]},
        ),
        ({"maximum": Decimal("1e2000")}, {"maximum": Decimal("1e2001")}),
        (things(contains=TEXT, maxContains=2), things(contains=TEXT, maxContains=3)),
    ],
)
def test_what_cannot_be_shown_counts_as_broken_and_says_so(former: Schema, new: Schema) -> None:
    assert "cannot_be_shown" in {one.rule for one in breaks(former, new, direction="forward")}
    assert breaks(former, former, direction="forward") == ()


@pytest.mark.parametrize(
    ("former", "new"),
    [
        ({"const": "a"}, {"enum": ["a"]}),
        (TEXT, {"type": ["string"]}),
        ({}, True),
        ({"not": {}}, False),
        ({**TEXT, "description": "old", "examples": ["a"]}, {**TEXT, "deprecated": True}),
        ({"const": 1}, {"const": Decimal("1.00")}),
        ({**WHOLE, "exclusiveMinimum": 0}, {**WHOLE, "minimum": 1}),
        ({"not": {"$ref": "#/$defs/t"}, "$defs": {"t": TEXT}}, {"not": TEXT}),
        ({"allOf": [TEXT, {"minLength": 1}]}, {**TEXT, "minLength": 1}),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "null"}, TEXT]}),
        ({"enum": ["a", "b"]}, {"oneOf": [{"const": "b", "title": "B"}, {"const": "a"}]}),
        (choice("card", "cash"), {"anyOf": choice("cash", "card")["oneOf"]}),
        (
            TREE,
            {
                **thing(
                    properties={"value": WHOLE, "children": things(items={"$ref": "#/$defs/n"})},
                    required=["value"],
                ),
                "$defs": {"n": TREE["$defs"]["node"] | {"title": "n"}, **TREE["$defs"]},
            },
        ),
    ],
)
def test_what_means_the_same_breaks_nobody(former: Schema, new: Schema) -> None:
    for old, changed in ((former, new), (new, former)):
        assert breaks(old, changed, direction="forward") == ()
        assert breaks(old, changed, direction="backward") == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            choice("card", "cash"),
            choice("card", "cash", note=TEXT),
            id="an optional property of every branch",
        ),
        pytest.param(
            thing(properties={"a": TEXT}, additionalProperties=False),
            thing(properties={"a": TEXT, "b": TEXT}, additionalProperties=False),
            id="a reader ignores what its schema forbids",
        ),
        pytest.param(
            thing(allOf=[{"properties": {"a": TEXT}}], unevaluatedProperties=False),
            thing(allOf=[{"properties": {"a": TEXT, "b": WHOLE}}], unevaluatedProperties=False),
            id="closed as a whole",
        ),
        pytest.param(
            thing(properties={"a": thing(properties={"b": TEXT})}),
            thing(properties={"a": thing(properties={"b": TEXT, "c": WHOLE})}),
            id="further down",
        ),
    ],
)
def test_an_optional_property_breaks_nobody(old: Schema, new: Schema) -> None:
    for former, changed in ((old, new), (new, old)):
        assert breaks(former, changed, direction="forward") == ()
        assert breaks(former, changed, direction="backward") == ()


INNER_X, INNER_Y = (thing(properties={name: TEXT}) for name in ("x", "y"))


@pytest.mark.parametrize(
    ("new", "old"),
    [
        pytest.param(
            thing(properties={"x-1": TEXT}),
            thing(patternProperties={"^x-": WHOLE}),
            id="a declared name that fits a pattern",
        ),
        pytest.param(
            thing(properties={"a": TEXT}),
            thing(additionalProperties=WHOLE),
            id="a declared name that others leave to the rest",
        ),
        pytest.param(
            thing(patternProperties={"^[ab]$": TEXT}),
            thing(properties={"a": WHOLE}),
            id="a pattern that a declared name fits",
        ),
        pytest.param(
            thing(properties={"a": TEXT}, allOf=[{"additionalProperties": True}])
            | {"unevaluatedProperties": False},
            thing(properties={"b": WHOLE}),
            id="a part that lets all others come",
        ),
        pytest.param(
            {"anyOf": [thing(properties={"a": INNER_X}), thing(properties={"a": INNER_Y})]},
            thing(properties={"a": thing(properties={"y": WHOLE})}),
            id="what one branch declares may come in the other",
        ),
        pytest.param(
            thing(properties={"a": TEXT, "b": TEXT}),
            {"oneOf": [thing(required=["a"]), thing(required=["b"])]},
            id="two branches at once",
        ),
        pytest.param(
            things(items={"type": ["integer", "null"]}, minItems=1),
            things(contains=WHOLE),
            id="an item that may be another",
        ),
        pytest.param(
            {"enum": [Decimal("1.5"), 2]}, {"multipleOf": 1}, id="a value between the steps"
        ),
        pytest.param({"const": True}, {"const": 1}, id="true is not one"),
    ],
)
def test_what_is_easily_overlooked_breaks_running_consumers(new: Schema, old: Schema) -> None:
    assert breaks(old, new, direction="forward") != ()


def test_a_change_in_a_recursive_schema_is_found_where_it_is_said() -> None:
    new = {**TREE, "$defs": {"node": {**TREE["$defs"]["node"], "required": []}}}
    (one,) = breaks(TREE, new, direction="forward")
    assert (one.pointer, one.rule) == ("/$defs/node/properties/value", "required_to_optional")


def test_a_pair_that_was_taken_to_fit_and_does_not_is_not_remembered_as_fitting() -> None:
    """T0 and T1 both lead to T2, and T2 to T0: while T0 is compared, T2 takes it to fit."""

    def linked(first: str, second: str) -> Schema:
        def one(kind: str, to: str) -> Schema:
            ref = {"oneOf": [{"$ref": f"#/$defs/{to}"}]}
            return thing(properties={"id": {"type": kind}, "ref": ref})

        return {
            "anyOf": [{"$ref": "#/$defs/T0"}, {"$ref": "#/$defs/T1"}],
            "$defs": {
                "T0": one(first, "T2"),
                "T1": one(second, "T2"),
                "T2": one("integer", "T0"),
            },
        }

    assert breaks(linked("integer", "boolean"), linked("boolean", "number"), direction="forward")


def test_every_rule_says_what_to_do() -> None:
    for rule in RULES.values():
        for said in rule:
            assert said.sentence.endswith(".")
            assert said.sentence.rpartition(". ")[2].split()[0] in {
                "Keep",
                "Leave",
                "Make",
                "Declare",
                "Choose",
                "Say",
            }
