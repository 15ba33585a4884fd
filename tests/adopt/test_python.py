"""Each page for Python, followed from an empty folder with the rights that it asks for."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.adopt import page
from tests.adopt.shop import Shop, as_url
from tests.conftest import PostgresServer
from tests.documents import DOCS, blocks

# Twice, the second time over what the first left.
PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider --keep-duplicates . ."
# What the project's own tests have installed beside it takes pytest seconds to load.
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def follow(name: str, folder: Path, shop: Shop) -> None:
    """Runs the page's own tests, all of them, twice."""
    page.write(name, folder)
    said = page.run(PYTEST, folder, {**shop.environment(), **NO_PLUGINS})
    shown = sum(text.count("\ndef test_") for text in page.files(name).values())
    [passed] = re.findall(r"(\d+) passed", said)
    assert int(passed) >= 2 * shown > 0


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


@pytest.fixture
def template_of_tests(postgres_server: PostgresServer, a_shop: Shop) -> Iterator[tuple[str, str]]:
    """As the page has it: a database that Django's is a copy of; and the URL of who may copy it."""
    [script] = blocks(DOCS / "adopt" / "django.md", "sql")
    with (
        postgres_server.clone() as url,
        psycopg.connect(a_shop.superuser, autocommit=True) as superuser,
    ):
        template = url.rpartition("/")[2]
        role = f"{a_shop.name}_test"
        script = script.replace("shop_template", template).replace("shop_test", role)
        for statement in script.split(";\n")[:-1]:
            superuser.execute(statement.encode())
        try:
            yield template, as_url(make_conninfo(a_shop.superuser, user=role))
        finally:
            name = sql.Identifier(template)
            superuser.execute(sql.SQL("alter database {} is_template false").format(name))
            superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.mark.long
def test_djangos_page_works(
    tmp_path: Path, a_shop: Shop, template_of_tests: tuple[str, str]
) -> None:
    template, testers_url = template_of_tests
    page.write("django", tmp_path)
    # As `startapp` makes them.
    for name in ("shop", "orders", "orders/migrations"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    settings = tmp_path / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace("shop_template", template))
    django = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": "."}
    owner = {**django, "DATABASE_URL": a_shop.owner_url}
    page.run(f"{DJANGO} makemigrations orders", tmp_path, owner)
    page.run(f"{DJANGO} migrate", tmp_path, owner)
    page.run(f'{DJANGO} shell -c "{PAY}"', tmp_path, {**django, **a_shop.environment()})
    assert [kind for _, kind, *_ in a_shop.published()] == ["order.made", "order.paid"]
    said = page.run(f"{DJANGO} test", tmp_path, {**django, "DATABASE_URL": testers_url})
    shown = sum(text.count("def test_") for text in page.files("django").values())
    assert f"Ran {shown} tests" in said


# Both commands of the page in one interpreter, which takes longer to start than they do.
ALEMBIC = "from alembic.config import main; main(['upgrade', 'head']); main(['check'])"


def test_sqlalchemys_page_works_beside_alembic(tmp_path: Path, a_shop: Shop) -> None:
    page.write("sqlalchemy", tmp_path)
    environment = {**a_shop.environment(), "PYTHONPATH": "."}
    said = page.run(shlex.join([sys.executable, "-c", ALEMBIC]), tmp_path, environment)
    assert "No new upgrade operations detected" in said
    follow("sqlalchemy", tmp_path, a_shop)
