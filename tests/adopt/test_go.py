"""The page for Go, compiled and followed from an empty folder."""

import shutil
from pathlib import Path

import pytest

from tests.adopt import page
from tests.adopt.shop import Shop
from tests.programs import required

# With its sums: what comes is what was meant.
MODULE = Path(__file__).with_name("go")


# Where nobody built it before, Go builds its own library and pgx, most of a minute.
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_the_page_works(tmp_path: Path, a_shop: Shop) -> None:
    go = required("go")
    shutil.copytree(MODULE, tmp_path, dirs_exist_ok=True)
    a_shop.make_tables("go")
    page.write("go", tmp_path)
    environment = {**a_shop.environment(), "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    said = page.run(f"{go} test -v .", tmp_path, environment, timeout_seconds=500)
    assert said.count("--- PASS") == 3
    assert [kind for _, kind, *_ in a_shop.published()] == ["order.made"]
