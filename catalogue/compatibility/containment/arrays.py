"""Arrays that may come, beside what a reader takes as items."""

from collections.abc import Iterator

from catalogue.compatibility.conditions import is_said
from catalogue.compatibility.containment import counts
from catalogue.compatibility.containment.comparing import Comparing, Gaps
from catalogue.compatibility.form import Condition, Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Arrays, Contains
from catalogue.compatibility.limits.arrays import contains
from catalogue.compatibility.place import Location, Place


def gaps(form: Form, limits: Arrays, reader: Place, compare: Comparing) -> Gaps:
    found = counts.gaps(form, reader, ("minItems", "maxItems"), limits.fewest, limits.most)
    for mine, theirs in _items(limits, reader):
        inner = compare.contained(mine, theirs)
        anything = Gap("anything", form.at("items"), theirs.pointer, {"name": "an item"})
        found += [anything] if inner and not mine else inner
    at_most_one = limits.most is not None and limits.most <= 1
    if reader.keywords.get("uniqueItems") is True and not (limits.unique or at_most_one):
        pointers = form.at("uniqueItems"), reader.keyword("uniqueItems")
        found.append(Gap("unique_items", *pointers, {}))
    for asked in contains(reader):
        found += _contains(form, limits, asked, reader, compare)
    return found


def _items(limits: Arrays, reader: Place) -> Iterator[tuple[Location, Place]]:
    """What may come at each index, with what the reader takes there."""
    first = reader.listed("prefixItems")
    rest = reader.at("items") if "items" in reader.keywords else None
    end = max(len(first), limits.listed) + 1
    for index in range(end if limits.most is None else min(end, limits.most)):
        if index < len(first):
            yield limits.at(index), first[index]
        elif rest is not None:
            yield limits.at(index), rest


def _contains(
    form: Form, limits: Arrays, asked: Contains, reader: Place, compare: Comparing
) -> Gaps:
    pointers = form.at("contains"), reader.keyword("contains")
    if is_said(Condition("contains", reader), form.conditions, compare.steps):
        return []
    found = []
    if asked.fewest > 0 and not _has_enough(limits, asked, compare):
        found.append(Gap("contains", *pointers, {}))
    if asked.most is not None and (limits.most is None or limits.most > asked.most):
        what = f"whether no more than {asked.most} items are what `contains` counts"
        found.append(Gap("cannot_be_shown", *pointers, {"what": what}))
    return found


def _has_enough(limits: Arrays, asked: Contains, compare: Comparing) -> bool:
    for mine in limits.contains:
        if mine.fewest >= asked.fewest and not compare.contained((mine.place,), asked.place):
            return True
    first = [limits.at(index) for index in range(min(limits.fewest, limits.listed))]
    rest = limits.fewest - len(first)
    counted = sum(not compare.contained(location, asked.place) for location in first)
    if rest > 0 and not compare.contained(limits.at(limits.listed), asked.place):
        counted += rest
    return counted >= asked.fewest
