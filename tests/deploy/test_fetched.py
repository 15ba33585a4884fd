"""A test that lacks its tool says so."""

import pytest

from local.server import StartError
from tests.deploy.fetched import fetched
from tests.programs import NOTHING_SKIPPED


def test_without_its_tool_a_test_is_skipped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise StartError("promtool is out of reach")

    monkeypatch.delenv(NOTHING_SKIPPED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT TRIED: promtool is out of reach"):
        fetched(away)
