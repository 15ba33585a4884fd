"""Lists are walked page by page, each page when it is needed."""

import asyncio

import pytest

from outbox_client import AsyncOutbox, Outbox
from tests.client.service import Service


@pytest.fixture
def dead(service: Service, outbox: Outbox) -> str:
    """A type of event of which there are five dead letters."""
    name = service.name()
    made = outbox.subscriptions.create(channel_id=name, endpoint="https://shop.example", name=name)
    service.add_dead_letters(made.id, name, 5)
    return name


def test_all_items_come_once_whatever_the_pages_hold(outbox: Outbox, dead: str) -> None:
    pages = outbox.dead_letters.list(type=dead, limit=2)
    ids = [int(one.id) for one in pages]
    assert len(ids) == 5
    assert ids == sorted(set(ids), reverse=True)
    # It may be walked again.
    assert [int(one.id) for one in pages] == ids


def test_pages_come_as_they_are_with_where_the_next_begins(outbox: Outbox, dead: str) -> None:
    whole = [one.id for one in outbox.dead_letters.list(type=dead)]
    first, *_ = outbox.dead_letters.list(type=dead, limit=2).by_page()
    rest = outbox.dead_letters.list(type=dead, cursor=first.next_cursor)
    assert [one.id for one in (*first.items, *rest)] == whole


def test_tasks_walk_pages_too(service: Service, dead: str) -> None:
    async def walk() -> list[str]:
        async with AsyncOutbox(service.url, service.key) as outbox:
            return [one.id async for one in outbox.dead_letters.list(type=dead, limit=2)]

    assert len(set(asyncio.run(walk()))) == 5
