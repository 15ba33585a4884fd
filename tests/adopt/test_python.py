"""Each page for Python, followed from an empty folder with the rights that it asks for."""

import re
import sys
from pathlib import Path

import pytest

from tests.adopt import page
from tests.adopt.shop import Shop
from tests.servers import TEMPLATE

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
# What the project's own tests have installed beside it takes pytest seconds to load.
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def follow(name: str, folder: Path, shop: Shop) -> None:
    """Runs the page's own tests, all of them."""
    page.write(name, folder)
    said = page.run(PYTEST, folder, {**shop.environment(), **NO_PLUGINS})
    shown = sum(text.count("\ndef test_") for text in page.files(name).values())
    [passed] = re.findall(r"(\d+) passed", said)
    assert int(passed) >= shown > 0


@pytest.mark.parametrize(
    "name", ["psycopg", "asyncpg", pytest.param("fastapi", marks=pytest.mark.long)]
)
def test_a_page_works(name: str, tmp_path: Path, a_shop: Shop) -> None:
    a_shop.make_tables(name)
    follow(name, tmp_path, a_shop)


@pytest.mark.long
def test_the_page_of_the_inbox_works(tmp_path: Path, a_shop: Shop) -> None:
    a_shop.make_inbox()
    a_shop.make_tables("inbox")
    follow("inbox", tmp_path, a_shop)


DJANGO = f"{sys.executable} -m django"
PAY = "from orders.services import make, pay; pay(make('ada', '12.50').pk)"


@pytest.mark.long
def test_djangos_page_works(tmp_path: Path, a_shop: Shop) -> None:
    page.write("django", tmp_path)
    # As `startapp` makes them.
    for name in ("shop", "orders", "orders/migrations"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    settings = tmp_path / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace("shop_template", TEMPLATE))
    django = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": "."}
    owner = {**django, "DATABASE_URL": a_shop.owner_url}
    page.run(f"{DJANGO} makemigrations orders", tmp_path, owner)
    page.run(f"{DJANGO} migrate", tmp_path, owner)
    page.run(f'{DJANGO} shell -c "{PAY}"', tmp_path, {**django, **a_shop.environment()})
    assert [kind for _, kind, *_ in a_shop.published()] == ["order.made", "order.paid"]
    said = page.run(f"{DJANGO} test", tmp_path, {**django, "DATABASE_URL": a_shop.superuser})
    shown = sum(text.count("def test_") for text in page.files("django").values())
    assert f"Ran {shown} tests" in said


def test_sqlalchemys_page_works_beside_alembic(tmp_path: Path, a_shop: Shop) -> None:
    page.write("sqlalchemy", tmp_path)
    environment = {**a_shop.environment(), "PYTHONPATH": "."}
    page.run(f"{sys.executable} -m alembic upgrade head", tmp_path, environment)
    said = page.run(f"{sys.executable} -m alembic check", tmp_path, environment)
    assert "No new upgrade operations detected" in said
    follow("sqlalchemy", tmp_path, a_shop)
