"""What of a schema is compared as it is written, and whether two schemas say the same.

Pure equality: the order of keys, descriptions and examples don't matter, a `type` may be a list of
one, a `const` an enum of one, and a `$ref` is what it names.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import cast

from catalogue.compatibility.form import Condition
from catalogue.compatibility.limits.bounds import listed
from catalogue.compatibility.place import Place, Side
from catalogue.compatibility.steps import Steps
from catalogue.compatibility.values import exact, identity, kind_of

_NUMBERS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"),
    *("minProperties", "maxProperties"),
)
_Pair = tuple[Place, Place]

_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_SCHEMAS = (
    *("not", "if", "then", "else", "items", "contains", "unevaluatedItems"),
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
)
# What else a schema asks; `const` is read with `enum`. Any other keyword asks nothing of a value.
_PLAIN = ("enum", "required", "dependentRequired", "uniqueItems", "pattern", "format")

# Keywords that mean something only together.
_TOGETHER = {
    "if": ("if", "then", "else"),
    "contains": ("contains", "minContains", "maxContains"),
}
# What these ask depends on all that stands around them.
_ABOUT_ALL = ("unevaluatedItems", "unevaluatedProperties")
# What these refer to is not followed.
_ELSEWHERE = ("$dynamicRef", "$recursiveRef", "$id")
_ASKING = {
    *_NUMBERS, *_LISTS, *_NAMED, *_SCHEMAS, *_PLAIN, *_ELSEWHERE, "$ref", "type", "const",
}  # fmt: skip


def said(place: Place) -> Iterator[Condition]:
    """What this schema itself says that a reader may ask for."""
    for keyword in ("oneOf", "contains"):
        if keyword in place.keywords:
            yield Condition(keyword, place)
    yield from asked(place)


def asked(place: Place) -> Iterator[Condition]:
    """What this schema itself asks besides what is understood."""
    keywords = place.keywords
    for keyword in ("not", "dependentSchemas", *_ABOUT_ALL, *_ELSEWHERE):
        if keyword in keywords and not _asks_nothing(place, keyword):
            yield Condition(keyword, place)
    if "if" in keywords and ("then" in keywords or "else" in keywords):
        yield Condition("if", place)
    if "$ref" in keywords and place.target() is None:
        yield Condition("$ref", place)
    for keyword in _NUMBERS:
        if keyword in keywords and exact(keywords[keyword]) is None:
            yield Condition(keyword, place)


def _asks_nothing(place: Place, keyword: str) -> bool:
    if keyword == "$id":
        return place.pointer == ""
    if keyword not in _ABOUT_ALL:
        return False
    rest = place.keywords[keyword]
    ignored = keyword == "unevaluatedProperties" and place.side is Side.READER
    return rest is True or (rest is False and ignored)


def is_said(condition: Condition, others: tuple[Condition, ...], steps: Steps) -> bool:
    """Whether one of the others is the same."""
    keyword = condition.keyword
    if keyword in _ELSEWHERE or keyword == "$ref":
        return False
    keywords = _ASKING if keyword in _ABOUT_ALL else _TOGETHER.get(keyword, (keyword,))
    return any(
        _Equality(steps).agree(condition.place, other.place, keywords)
        for other in others
        if other.keyword == keyword
    )


def is_same(one: Place, other: Place, steps: Steps) -> bool:
    """Whether both say the same; two schemas that refer to themselves can do so, too."""
    return _Equality(steps).same(one, other)


class _Equality:
    """Two that are met again below themselves are the same if nothing else tells them apart."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._met: set[_Pair] = set()

    def same(self, one: Place, other: Place) -> bool:
        return self._all([(one, other)])

    def agree(self, one: Place, other: Place, keywords: Iterable[str]) -> bool:
        """Whether both say the same by these keywords."""
        inner = _inner(one, other, keywords)
        return inner is not None and self._all(inner)

    def _all(self, waiting: list[_Pair]) -> bool:
        while waiting:
            one, other = waiting.pop()
            one, other = _meant(one), _meant(other)
            if one is other or (one, other) in self._met:
                continue
            self._met.add((one, other))
            self._steps.take()
            mine, its = boolean(one), boolean(other)
            inner = _inner(one, other, _ASKING) if mine is its is None else []
            if mine is not its or inner is None:
                return False
            waiting += inner
        return True


def _inner(one: Place, other: Place, keywords: Iterable[str]) -> list[_Pair] | None:
    """What has to be the same further in, None where the two differ here."""
    found: list[_Pair] = []
    for keyword in keywords:
        inner = _by(keyword, one, other)
        if inner is None:
            return None
        found += inner
    return found


def _by(keyword: str, one: Place, other: Place) -> list[_Pair] | None:
    """The same for one keyword."""
    if keyword in ("type", "enum", "const"):
        return [] if _values(one, keyword) == _values(other, keyword) else None
    if keyword not in one.keywords and keyword not in other.keywords:
        return []
    if keyword not in one.keywords or keyword not in other.keywords:
        return None
    if keyword in _SCHEMAS:
        return [(one.at(keyword), other.at(keyword))]
    if keyword == "$ref":
        mine, its = one.target(), other.target()
        return None if mine is None or its is None else [(mine, its)]
    if keyword in _LISTS:
        some, others = one.listed(keyword), other.listed(keyword)
        return list(zip(some, others, strict=True)) if len(some) == len(others) else None
    if keyword in _NAMED:
        named, its_named = one.named(keyword), other.named(keyword)
        same = named.keys() == its_named.keys()
        return [(named[name], its_named[name]) for name in named] if same else None
    return [] if _said(one, keyword) == _said(other, keyword) else None


def _meant(place: Place) -> Place:
    """Behind references and lists of one that say nothing else."""
    for _ in range(100):
        asking = [word for word in place.keywords if word in _ASKING]
        target = place.target() if asking == ["$ref"] else None
        if target is not None:
            place = target
        elif asking == ["allOf"] and len(place.listed("allOf")) == 1:
            (place,) = place.listed("allOf")
        else:
            break
    return place


def boolean(place: Place) -> bool | None:
    """The boolean that a schema comes to, `{}` being true; None for any other."""
    if isinstance(place.schema, bool):
        return place.schema
    words = _ASKING & place.schema.keys()
    if words == {"not"}:
        inner = boolean(place.at("not"))
        return None if inner is None else not inner
    return None if words else True


def _values(place: Place, keyword: str) -> Hashable:
    keywords = place.keywords
    if keyword == "type":
        types = keywords.get("type")
        return _set([types] if isinstance(types, str) else types)
    return _set(listed(keywords))


def _said(place: Place, keyword: str) -> Hashable:
    found = place.keywords[keyword]
    if keyword == "required":
        return _set(found)
    if keyword == "dependentRequired":
        needs = cast("dict[str, list[str]]", found)
        return frozenset((name, _set(names)) for name, names in needs.items())
    return kind_of(found), identity(found)


def _set(values: object) -> Hashable:
    if values is None:
        return None
    return frozenset(identity(value) for value in cast("list[object]", values))
