"""jsonsubschema decides what is within what by other means; where it answers, nothing is called
compatible here that it finds is not.
"""

from collections import Counter
from random import Random

import pytest

from catalogue.closing import close
from catalogue.compatibility import breaks
from tests.catalogue.compatibility.drawn import Drawn, Schema
from tests.catalogue.compatibility.opened import opened
from tests.catalogue.compatibility.oracle import Oracle
from tests.catalogue.reference import REFERENCE

# What it reads as 2020-12 does. It is made for draft 4.
_UNKNOWN = {
    *("const", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "prefixItems", "contains"),
    *("minContains", "maxContains", "propertyNames", "dependentRequired", "dependentSchemas"),
    *("unevaluatedProperties", "patternProperties", "pattern", "not", "oneOf", "if", "then"),
    *("else", "uniqueItems", "enum", "minProperties", "maxProperties"),
    # It doesn't always see that nothing can keep to a schema, and this one does.
    "allOf",
}


def plain(schema: Schema) -> Schema:
    """The schema with the words alone that both read the same way."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return {} if schema is True else schema
    found = {word: said for word, said in schema.items() if word not in _UNKNOWN}
    if "anyOf" in found:
        # What stands beside branches may contradict them.
        return {"anyOf": plain(found["anyOf"])}
    if not isinstance(found.get("additionalProperties"), bool):
        # It holds a declared property against it, and lets any other name pass.
        found.pop("additionalProperties", None)
    # Bounds that leave something, and needs that a closed writer can meet.
    upper = [word for word in ("maximum", "maxLength", "maxItems") if word in found]
    found |= {word: found[word] + 10 for word in upper}
    named = found.get("properties", {})
    found["required"] = [name for name in found.get("required", ()) if name in named]
    found["properties"] = {name: plain(one) for name, one in named.items()}
    if "items" in found:
        found["items"] = plain(found["items"])
    # It takes what is empty for something that is asked.
    return {word: said for word, said in found.items() if said not in ({}, [])}


def hold(seeds: range, oracle: Oracle) -> Counter[tuple[bool, bool | None]]:
    """How often both said what: whether it is compatible, first this one, then the oracle."""
    told: Counter[tuple[bool, bool | None]] = Counter()
    for seed in seeds:
        drawn = Drawn(Random(seed))
        old = plain(drawn.schema(2))
        new = plain(drawn.changed(old) if seed % 3 else drawn.schema(2))
        ours = not breaks(old, new, direction="forward")
        theirs = oracle.is_within(close(new), opened(old))
        told[ours, theirs] += 1
        if ours and theirs is False:
            # It is wrong where nothing can keep to a schema, so a value has to show it.
            show_nothing_beyond(new, old, drawn)
    return told


def show_nothing_beyond(new: Schema, old: Schema, drawn: Drawn) -> None:
    writes, takes = REFERENCE(close(new)), REFERENCE(opened(old))
    values = (drawn.near(new) for _ in range(300))
    assert not [one for one in values if writes.is_valid(one) and not takes.is_valid(one)]


def test_nothing_is_called_compatible_that_the_oracle_finds_is_not() -> None:
    with Oracle() as oracle:
        told = hold(range(150), oracle)
    assert told[True, True] > 20
    assert told[False, False] > 20


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_oracle_and_the_checker_seldom_differ() -> None:
    with Oracle() as oracle:
        told = hold(range(1000, 1750), oracle)
    answered = told[True, True] + told[False, False]
    # Of the checker: several branches that take together what none takes alone.
    assert told[False, True] <= 0.01 * answered
    # Of the oracle: schemas that nothing can keep to.
    assert told[True, False] <= 0.01 * answered
