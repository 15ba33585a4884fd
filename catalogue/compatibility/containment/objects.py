"""Objects that may come, beside the properties that a reader takes and needs."""

from catalogue.compatibility.containment import counts
from catalogue.compatibility.containment.comparing import Comparing, Gaps
from catalogue.compatibility.form import Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Objects, Properties
from catalogue.compatibility.limits.objects import Fits
from catalogue.compatibility.matching import matches
from catalogue.compatibility.normal import property_at
from catalogue.compatibility.place import Location, Place

_NONE: frozenset[str] = frozenset()


def gaps(form: Form, limits: Objects, reader: Place, compare: Comparing) -> Gaps:
    theirs = Objects.read(reader)
    if theirs is None:
        return [Gap("nothing", form.pointer, reader.pointer, {})]
    words = ("minProperties", "maxProperties")
    found = counts.gaps(form, reader, words, limits.count_fewest, limits.count_most)
    found += _required(form, limits, theirs, reader)
    found += _dependent(form, limits, theirs, reader)
    for place in theirs.names:
        found += _names(form, limits, place, compare)
    for properties in theirs.properties:
        found += _named(form, limits, properties, compare)
        found += _patterned(form, limits, properties, compare)
        if properties.rest.schema is not True:
            found += _rest(form, limits, properties, compare)
    return found


def _required(form: Form, limits: Objects, theirs: Objects, reader: Place) -> Gaps:
    found = []
    for name in sorted(theirs.required - limits.required):
        subject = "optional" if name in limits.declared else "required"
        pointers = form.at("properties", name), reader.keyword("properties", name)
        found.append(Gap(subject, *pointers, {"name": name}))
    return found


def _dependent(form: Form, limits: Objects, theirs: Objects, reader: Place) -> Gaps:
    found = []
    for name, needs in theirs.dependent.items():
        missing = needs - limits.required - limits.dependent.get(name, _NONE) - {name}
        if missing and any(True for _ in property_at(limits, name)):
            pointers = form.at("dependentRequired"), reader.keyword("dependentRequired", name)
            words = {"name": name, "needs": ", ".join(sorted(missing))}
            found.append(Gap("dependent_required", *pointers, words))
    return found


def _names(form: Form, limits: Objects, place: Place, compare: Comparing) -> Gaps:
    """`place` is what the reader takes as names."""
    for names in (*_declared_names(limits, place), *_other_names(limits, place)):
        if compare.contained((names, *limits.names), place):
            return [Gap("names", form.at("propertyNames"), place.pointer, {})]
    return []


def _declared_names(limits: Objects, place: Place) -> list[Place]:
    coming = (name for name in limits.declared if any(True for _ in property_at(limits, name)))
    return [place.made({"const": name}) for name in coming]


def _other_names(limits: Objects, place: Place) -> list[Place]:
    for properties in limits.properties:
        if properties.rest.schema is False:
            kept = properties.patterns
            return [place.made({"type": "string", "pattern": pattern}) for pattern in kept]
    return [place.made({"type": "string"})]


def _named(form: Form, limits: Objects, theirs: Properties, compare: Comparing) -> Gaps:
    found: Gaps = []
    for name, place in theirs.named.items():
        anything = Gap(
            "anything", form.at("properties", name), place.pointer, {"name": f"`{name}`"}
        )
        for location in property_at(limits, name):
            found += _property(location, place, anything, compare)
    return found


def _patterned(form: Form, limits: Objects, theirs: Properties, compare: Comparing) -> Gaps:
    found: Gaps = []
    for pattern, place in theirs.patterns.items():
        words = {"name": f"a property of pattern `{pattern}`"}
        pointers = form.at("patternProperties", pattern), place.pointer
        for name in (*limits.declared, None):
            if name is not None and matches(pattern, name) is False:
                continue
            for location in limits.at(name, _fits(name, yes=frozenset([pattern]))):
                found += _property(location, place, Gap("anything", *pointers, words), compare)
    return found


def _rest(form: Form, limits: Objects, theirs: Properties, compare: Comparing) -> Gaps:
    """What a reader takes of properties that it declares neither by name nor by pattern."""
    found: Gaps = []
    not_patterns = frozenset(theirs.patterns)
    for name in (*limits.declared, None):
        if name in theirs.named or _is_patterned(name, theirs):
            continue
        refused = theirs.rest.schema is False
        anything = Gap(
            "refused" if refused else "anything",
            form.at("additionalProperties") if name is None else form.at("properties", name),
            theirs.rest.pointer,
            {"name": "a property of another name" if name is None else f"`{name}`"},
        )
        for location in limits.at(name, _fits(name, no=not_patterns)):
            inner = compare.contained(location, theirs.rest)
            found += [anything] if inner and (refused or not location) else inner
    return found


def _is_patterned(name: str | None, theirs: Properties) -> bool:
    return name is not None and any(matches(one, name) is True for one in theirs.patterns)


def _property(location: Location, place: Place, anything: Gap, compare: Comparing) -> Gaps:
    """`anything` is the gap where the writer lets it have any value."""
    inner = compare.contained(location, place)
    return [anything] if inner and not location else inner


def _fits(name: str | None, *, yes: frozenset[str] = _NONE, no: frozenset[str] = _NONE) -> Fits:
    """Whether a name fits a pattern, where it is known to fit some and not to fit others."""

    def fits(pattern: str) -> bool | None:
        if pattern in yes or pattern in no:
            return pattern in yes
        return None if name is None else matches(pattern, name)

    return fits
