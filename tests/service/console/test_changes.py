"""What changed between two versions, told in a time that no schema makes long."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from service.console.catalogue.changes import step
from service.console.catalogue.reading import Version


def version(number: int, schema: Any) -> Version:
    written = json.dumps(schema, separators=(",", ":"))
    return Version(number, "none", written, "key", datetime(2026, 1, 1, tzinfo=UTC))


LARGE = {
    "equal values": ({"enum": [1] * 30_000}, {"enum": [2] * 30_000}, 2),
    "values": (
        {"enum": [*range(10_000, 20_000)]},
        {"enum": [*range(30_000, 40_000)]},
        20_000,
    ),
    "names": (
        {"required": [f"a{n}" for n in range(7000)]},
        {"required": [f"b{n}" for n in range(7000)]},
        14_000,
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_long_lists_are_compared_in_no_time(case: str) -> None:
    old, new, changes = LARGE[case]
    began = time.process_time()
    found = step(version(2, new), version(1, old))
    assert len(found.changes) + found.untold == changes
    assert time.process_time() - began < 2


def test_values_are_told_apart_as_json_tells_them_apart() -> None:
    found = step(version(2, {"enum": [True, 2.0, 3]}), version(1, {"enum": [1, 2]}))
    assert [(one.kind, one.said) for one in found.changes] == [
        ("added", "enum true"),
        ("added", "enum 3"),
        ("removed", "enum 1"),
    ]
