"""The page for Node, followed from an empty folder."""

from pathlib import Path

import pytest

from tests.adopt import page
from tests.adopt.node import link_packages
from tests.adopt.shop import Shop
from tests.programs import required


@pytest.mark.long
def test_the_page_works(tmp_path: Path, a_shop: Shop) -> None:
    link_packages(tmp_path)
    a_shop.make_tables("node")
    page.write("node", tmp_path)
    said = page.run(f"{required('node')} --test", tmp_path, a_shop.environment())
    assert "pass 4" in said
    assert [kind for _, kind, *_ in a_shop.published()] == ["order.made"]
