"""The tool that judges the rules."""

from pathlib import Path

import pytest

from tests.deploy import fetched


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own judge of rules and expressions."""
    return fetched.fetched(fetched.promtool)
