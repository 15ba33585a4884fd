"""Schemas of the keywords that SQL keeps, made by hypothesis.

Each strategy is made once: to make and check one takes longer than to draw from it.
"""

from decimal import Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from catalogue.schema import Schema

NAMES = ["a", "b", "c/d", "~1", "é", "", "a b", 'q"u', "\\", "$", "@", "key", "x1", "x2", "items"]
NUMBERS = [
    "0", "1", "-1", "2", "10", "0.1", "0.3", "-2.5", "99.99", "1e2", "9007199254740993",
    "123456789012345678901234567890", "0.1000000000000000000001", "1e400", "1e-400", "-1E+400",
]  # fmt: skip
BOUNDS = [
    0, 1, -1, 2, 10, Decimal("0.1"), Decimal("-2.5"), Decimal("99.99"), 9007199254740993,
    123456789012345678901234567890, Decimal("0.1000000000000000000001"),
]  # fmt: skip
UNITS = [
    1, 2, 3, Decimal("0.01"), Decimal("0.1"), Decimal("2.5"), 1000000007, Decimal("1e-9"), 10**20,
]  # fmt: skip
TEXTS = [
    "", "a", "EUR", "eur", "A-1", "x1", "é", "😀", "a\nb", "a\r", "\u2028", " ", "\u00a0x", "12",
    "\u0663", "_", "null", "\ufb00", "\u007f", "a" * 64, "a" * 65, "é😀" * 150, '"\\', "ab" * 20,
    "\u212a", "\u017f",
]  # fmt: skip
# Each with texts near its borders.
PATTERNS = {
    "^[A-Z]{3}$": ["EUR", "EUR\n", "EURO", "eur", "ÄÖÜ"],
    "^a.c$": ["abc", "a\nc", "a\rc", "a\u2028c", "a😀c", "ac", "abc\n"],
    r"^\d+$": ["1", "12", "\u0663", "", "1\n", "1a"],
    r"\w\W": ["a-", "é-", "_ ", "aa", "-a", "\u017fa"],
    r"^\s*$": ["", " \t\n", "\u00a0\ufeff\u2003", "\u180e", "x"],
    r"\S": ["", " ", "\u00a0", "x", "\u200b"],
    "^(?:a|b)*a(?:a|b){3}$": ["aaaa", "abbb", "baaa", "bbbb", "b" * 30],
    "^(a+)+$": ["a" * 9, "a" * 9 + "b", ""],
    "[^a-c]": ["a", "d", "\n", "", "abc", "abcé"],
    r"^[\w.+-]+@[a-z]+\.[a-z]{2,3}$": ["a@b.de", "a+b.c-d@e.com", "é@b.de", "a@b.d", "a@b.info"],
    "x|^$": ["", "x", "y", "yx"],
    r"^\u00e9?\u{1F600}$": ["é😀", "😀", "é", "é😀😀"],
    r"[\]\\^$.|?*+()\[{}\-/]": ["]", "\\", "^", "$", "a", "-", "/", "{"],
    "^[^\\n]*$": ["a\nb", "ab", ""],
    r"a{2,}b{0,2}c?$": ["aab", "a", "aabbb", "aac\n", "aabbc"],
    "^x": ["x1", "x2", "y", ""],
    r"[\D]": ["1", "a", "\u0663", ""],
    "^(|a|bc){2}$": ["", "a", "aa", "abc", "bcbc", "b"],
}
SCALARS: list[Any] = [None, True, False, 0, 1, -1, Decimal("1.5"), "", "a", "EUR", "1", 10**25]
CONSTANTS: list[Any] = [
    *SCALARS,
    [],
    [1, "a"],
    [[1], {}],
    {},
    {"a": 1},
    {"a": [None], "c/d": {"b": True}},
]

Strategy = st.SearchStrategy[Any]

name = st.sampled_from(NAMES)
small = st.integers(0, 3)
length = st.sampled_from([0, 1, 2, 3, 5, 64, 253, 254, 255, 256, 510, 999])
number = st.sampled_from(BOUNDS)


@cache
@st.composite
def documents(draw: st.DrawFn) -> Schema:
    """A whole schema, with definitions that may be recursive."""
    root = draw(schemas(depth=0, conjunct=True))
    if isinstance(root, bool):
        return root
    defs = {one: draw(schemas(depth=1, conjunct=False)) for one in ("one", "two")}
    if draw(st.booleans()):
        loop = {"$ref": "#/$defs/tree"}
        defs["tree"] = {
            "type": draw(st.sampled_from(["object", ["object", "null"]])),
            "properties": {
                "a": {"type": "integer"}, "b": draw(st.sampled_from([loop, {"items": loop}])),
            },
            "required": ["a"],
        }  # fmt: skip
        root = {**root, "properties": {**root.get("properties", {}), "key": loop}}
    return {**root, "$defs": defs}


@cache
@st.composite
def schemas(draw: st.DrawFn, depth: int, conjunct: bool) -> Schema:
    """`conjunct`: it has to hold for the payload to fit, so that a measure may stand there."""
    if draw(st.integers(0, 24)) == 0:
        return draw(st.booleans())
    kinds = [number_keywords, text_keywords, value_keywords]
    if depth < 3:
        kinds += [object_keywords, object_keywords, object_keywords, array_keywords, array_keywords]
        kinds += [applied_keywords] * 2
    made: dict[str, Any] = {}
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2, unique=True)):
        made.update(draw(kind(depth, conjunct)))
    if depth > 0 and draw(st.integers(0, 9)) == 0:
        made["$ref"] = draw(st.sampled_from(["#/$defs/one", "#/$defs/two"]))
    return made


def some_of(keywords: dict[str, Strategy], at_most: int = 3) -> Strategy:
    """A few of these keywords."""
    names = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=at_most, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({one: keywords[one] for one in chosen})
    )


@cache
def number_keywords(depth: int, conjunct: bool) -> Strategy:
    return some_of(
        {
            "type": st.sampled_from(["number", "integer", ["integer", "null"]]),
            "minimum": number, "maximum": number,
            "exclusiveMinimum": number, "exclusiveMaximum": number,
            "multipleOf": st.sampled_from(UNITS),
        }
    )  # fmt: skip


@cache
def text_keywords(depth: int, conjunct: bool) -> Strategy:
    lengths = st.one_of(length, st.just(1_200)) if conjunct else length
    return some_of(
        {
            "type": st.sampled_from(["string", ["string", "null"]]),
            "minLength": lengths, "maxLength": lengths,
            "pattern": st.sampled_from(sorted(PATTERNS)),
            "format": st.sampled_from(["uuid", "date", "date-time", "email", "unknown"]),
        }
    )  # fmt: skip


@cache
def value_keywords(depth: int, conjunct: bool) -> Strategy:
    constants = st.sampled_from(CONSTANTS)
    return st.one_of(
        st.fixed_dictionaries({"const": constants}),
        st.fixed_dictionaries({"enum": st.lists(constants, min_size=1, max_size=4)}),
        st.fixed_dictionaries({"type": st.sampled_from(["null", "boolean", "object", "array"])}),
    )


@cache
def object_keywords(depth: int, conjunct: bool) -> Strategy:
    inside = schemas(depth + 1, conjunct)
    names = st.lists(name, max_size=2, unique=True)
    patterned = st.sampled_from(["^x", r"\d", "^.$", "é"])
    counts = st.integers(0, 4) if conjunct else st.integers(0, 1)
    keywords = {
        "type": st.just("object"),
        "properties": st.dictionaries(name, inside, min_size=1, max_size=3),
        "required": names,
        "patternProperties": st.dictionaries(patterned, inside, min_size=1, max_size=2),
        "additionalProperties": st.one_of(st.just(False), inside),
        "propertyNames": st.one_of(text_keywords(depth, False), value_keywords(depth, False)),
        "minProperties": counts, "maxProperties": counts if conjunct else st.just(0),
        "dependentRequired": st.dictionaries(name, names, max_size=2),
        "dependentSchemas": st.dictionaries(name, inside, max_size=1),
    }  # fmt: skip
    return some_of(keywords, at_most=4)


@cache
def array_keywords(depth: int, conjunct: bool) -> Strategy:
    inside = schemas(depth + 1, conjunct)
    keywords: dict[str, Strategy] = {
        "type": st.just("array"),
        "items": inside,
        "prefixItems": st.lists(inside, min_size=1, max_size=2),
        "minItems": small, "maxItems": small,
        "contains": schemas(depth + 1, False),
    }  # fmt: skip
    if conjunct:
        keywords |= {"uniqueItems": st.booleans(), "minContains": small, "maxContains": small}
    return some_of(keywords, at_most=4)


@cache
def applied_keywords(depth: int, conjunct: bool) -> Strategy:
    here, decided = schemas(depth + 1, conjunct), schemas(depth + 1, False)
    return st.one_of(
        st.fixed_dictionaries({"allOf": st.lists(here, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(decided, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"oneOf": st.lists(decided, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": decided}),
        st.fixed_dictionaries({"if": decided, "then": here, "else": here}),
        st.fixed_dictionaries({"if": decided, "then": here}),
    )
