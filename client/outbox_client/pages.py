"""Lists in pages, which are asked for one by one as they are needed."""

from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

from outbox_client.problems import Unreadable
from outbox_client.request import Request
from outbox_client.shape import Shape
from outbox_client.transport import AsyncTransport, Transport

Item = TypeVar("Item")


class Page(Shape, Generic[Item], frozen=True, kw_only=True):
    """Items, and where the next ones begin: `cursor` of a list takes it. None: there are none."""

    items: list[Item]
    next_cursor: str | None = None


def _next(asked: Request[Page[Item]], page: Page[Item]) -> Request[Page[Item]] | None:
    """What is asked after this page; None: it was the last. Raises Unreadable."""
    if page.next_cursor is None:
        return None
    if page.next_cursor == asked.query.get("cursor"):
        raise Unreadable(asked.name, None, "the page's nextCursor leads to this page again")
    return asked.at(page.next_cursor)


class Pages(Generic[Item]):
    """All items of a list; `by_page` has them as they come. It may be walked more than once."""

    def __init__(self, transport: Transport, first: Request[Page[Item]]) -> None:
        self._transport = transport
        self._first = first

    def __iter__(self) -> Iterator[Item]:
        for page in self.by_page():
            yield from page.items

    def by_page(self) -> Iterator[Page[Item]]:
        """One request a page, made when the page is taken."""
        asked: Request[Page[Item]] | None = self._first
        while asked is not None:
            page = self._transport.send(asked)
            yield page
            asked = _next(asked, page)


class AsyncPages(Generic[Item]):
    """The same for `async for`."""

    def __init__(self, transport: AsyncTransport, first: Request[Page[Item]]) -> None:
        self._transport = transport
        self._first = first

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.by_page():
            for item in page.items:
                yield item

    async def by_page(self) -> AsyncIterator[Page[Item]]:
        """One request a page, made when the page is taken."""
        asked: Request[Page[Item]] | None = self._first
        while asked is not None:
            page = await self._transport.send(asked)
            yield page
            asked = _next(asked, page)
