"""Promises of what the demo plays."""

import asyncio
from contextlib import suppress
from typing import Any

import psycopg

from demo.places import Places
from demo.queue import Queue
from demo.scenario import change_minds
from tests.event_types import register_sale
from tests.eventually import eventually

DRAWN = "select last_value from outbox.message_id_seq"
PUBLISHED = "select count(*) from outbox.message"


def test_whatever_is_rolled_back_or_refused_was_never_there(
    database_url: str, inventory_url: str
) -> None:
    register_sale(database_url)
    books = {"inventory": inventory_url}
    places = Places(database_url, books, "", "", {}, "", Queue("", dict))
    with (
        psycopg.connect(database_url, autocommit=True) as sale,
        psycopg.connect(inventory_url, autocommit=True) as inventory,
    ):
        asyncio.run(until_drawn(places, sale, 10))
        assert number(sale, PUBLISHED) == number(inventory, PUBLISHED) == 0


async def until_drawn(places: Places, sale: Any, least: int) -> None:
    """Until so many ids of messages are used up: two by each rollback, three by each refusal."""

    def drawn() -> None:
        assert changing.done() or number(sale, DRAWN) >= least

    changing = asyncio.create_task(change_minds(places))
    await asyncio.to_thread(eventually, drawn)
    changing.cancel()
    with suppress(asyncio.CancelledError):
        await changing


def number(connection: Any, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])
