"""One server for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.schedules.stage import prepared_database


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server of the module's own: another's open transactions would change what readers see."""
    with prepared_database() as url:
        yield url
