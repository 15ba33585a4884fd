"""Two servers for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pair import Pair, replicated
from tests.servers import make_template


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary and its standby, and the address that everybody uses."""
    with replicated(tmp_path) as pair:
        make_template(pair.primary)
        yield pair
