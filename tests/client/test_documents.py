"""What the documents show of the client is what there is, and their examples run."""

from pathlib import Path
from typing import Any

import pytest

from tests.client.service import Service
from tests.client.test_openapi import METHODS
from tests.documents import DOCS, blocks, tables

CLIENT, HTTP_API = DOCS / "client.md", DOCS / "http-api.md"
SHOWN_URL = "http://127.0.0.1:8080"


@pytest.fixture
def fresh(service: Service) -> Service:
    """Without what the examples of another document made."""
    service.database.execute(
        "select outbox.unsubscribe(id, true) from outbox.subscription where name = any (%s)",
        [["billing", "europe"]],
    )
    return service


@pytest.mark.parametrize("document", [CLIENT, HTTP_API], ids=lambda one: one.name)
def test_every_example_runs_from_the_first_to_the_last(
    document: Path, fresh: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", fresh.key)
    examples = blocks(document, "python")
    assert examples
    names: dict[str, Any] = {"__name__": "example"}
    for example in examples:
        exec(example.replace(SHOWN_URL, fresh.url), names)
    names["outbox"].close()


def test_the_table_has_every_method_with_its_operation_and_whether_it_is_sent_again() -> None:
    [rows] = tables(CLIENT, "What is sent again")
    shown = {(operation.strip("`"), again) for _, operation, again in rows}
    expected = {
        (" ".join(operation), "yes" if one.repeatable else "no")
        for operation, one in METHODS.items()
    }
    assert shown == expected
    assert len(rows) == len(METHODS)
