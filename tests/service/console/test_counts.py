"""How many messages of each type were published: all are counted, or a part of a large log."""

from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from service.console.catalogue import counts
from tests.event_types import register
from tests.service.console.reading import page

Bare = tuple[TestClient, psycopg.Connection[Any]]

FILL = """
    insert into outbox.message (channel, type, payload, created_at)
    select 'orders', case when n %% 5 = 0 then 'rare' else 'often' end, repeat('x', 400)::bytea,
           now() - make_interval(days => n %% 9, mins => 1)
    from generate_series(1, %s) as n
"""


def fill(database: psycopg.Connection[Any], messages: int) -> None:
    """Four of five are `often`; of nine days, two are longer ago than a week."""
    for type_ in ("often", "rare", "never"):
        register(database, type_, channels=["orders"], enforcement="off")
    database.execute(FILL, [messages])


def said(http: TestClient, type_: str) -> str:
    return page(http.get(f"/catalogue/types/{type_}")).text


def test_a_small_log_is_counted(bare: Bare) -> None:
    http, database = bare
    fill(database, 900)
    assert "80 in 24 hours, 560 in 7 days" in said(http, "often")
    assert "20 in 24 hours, 140 in 7 days" in said(http, "rare")
    assert "none in 7 days" in said(http, "never")
    bars = "Messages in each of the last seven days: 80, 80, 80, 80, 80, 80, 80"
    assert bars in http.get("/catalogue").text


def test_of_a_large_log_a_part_is_read(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    http, database = bare
    fill(database, 45_000)
    monkeypatch.setattr(counts, "MAX_BLOCKS", 1000)
    blocks = database.execute(
        "select sum(pg_relation_size(relid)) / 8192 from pg_partition_tree('outbox.message')"
    ).fetchone()
    assert blocks is not None
    assert blocks[0] > 2 * counts.MAX_BLOCKS
    text = said(http, "often")
    _, _, week = text.partition("in 24 hours, about ")
    # 28,000 of them; what is read is the same each time, so this is not a matter of luck.
    assert 23_000 < int(week.split()[0].replace(",", "")) < 33_000
    assert "about" in page(http.get("/catalogue")).text
    assert "few or none in 7 days" in said(http, "never")


def test_a_database_that_has_no_time_for_it_shows_the_page_without(
    bare: Bare, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    http, database = bare
    fill(database, 9)
    monkeypatch.setattr(counts.Counts, "timeout_seconds", 0.3)
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table outbox.message in access exclusive mode")
        assert "not counted now" in page(http.get("/catalogue")).text
        assert "not counted now" in said(http, "often")
        holder.rollback()


def test_they_stand_for_a_while(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    http, database = bare
    fill(database, 9)
    publish = "select outbox.publish('orders', 'never', '{}')"
    monkeypatch.setattr(counts.Counts, "kept_seconds", 0.0)
    assert "none in 7 days" in said(http, "never")
    database.execute(publish)
    monkeypatch.setattr(counts.Counts, "kept_seconds", 60.0)
    assert "1 in 7 days" in said(http, "never")
    database.execute(publish)
    assert "1 in 7 days" in said(http, "never")


@pytest.mark.parametrize(
    ("found", "part", "scaled"),
    [(7, 1.0, 7), (0, 0.1, 0), (1, 0.001, 1000), (1234, 0.01, 120_000), (15, 0.5, 30)],
)
def test_an_estimate_has_two_digits(found: int, part: float, scaled: int) -> None:
    assert counts._scaled(found, part) == scaled


def test_what_is_not_nothing_has_a_bar() -> None:
    published = counts.Published([0, 1, 1000, 500, 0, 0, 0], is_exact=True)
    assert published.heights == [0, 2, 20, 10, 0, 0, 0]
