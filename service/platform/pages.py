"""Lists in pages: keyset on ids, so that page n costs what page 1 costs and no row comes twice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, LiteralString, TypeVar

import msgspec
from msgspec import Meta

from service.database.transaction import Transaction
from service.platform.fields import Cursor
from service.platform.permission import visible
from service.web.operations.operation import Call

Item = TypeVar("Item")

# The highest that Postgres' bigint holds.
MAX_ID = 2**63 - 1

Limit = Annotated[int, Meta(ge=1, le=200, description="Items of a page.")]


class PageQuery(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What every list takes."""

    limit: Limit = 50
    cursor: Cursor | None = None

    def place(self) -> tuple[int, int] | None:
        """Where the page before ended; its second number is 0 in lists that need only one."""
        if self.cursor is None:
            return None
        first, _, second = self.cursor.partition("-")
        return int(first), int(second or 0)


class Page(msgspec.Struct, Generic[Item], frozen=True, rename="camel", omit_defaults=True):
    """Items, and where the next ones begin, if there are any."""

    items: list[Item]
    next_cursor: Cursor | None = None


# A plan for any filter uses the index of none: each list is planned for those that it was given.
PLAN_ANEW: LiteralString = "select set_config('plan_cache_mode', 'force_custom_plan', true)"


async def select(
    call: Call[Any, Any],
    row: type[Item],
    statement: LiteralString,
    parameters: Mapping[str, object],
) -> list[Item]:
    """The rows of a list, one `row` each. A filter may have to read much to find them.

    Among the statement's parameters are `visible`, the ids of the subscriptions that the caller may
    see, and `channels`, what it is limited to; NULL where that is all.
    """

    async def work(transaction: Transaction) -> list[Item]:
        await transaction.execute(PLAN_ANEW, {})
        limits = {
            "visible": await visible(transaction, call.caller),
            "channels": call.caller.channels,
        }
        return await transaction.all(row, statement, {**parameters, **limits})

    return await call.database.walk(work)


def page(rows: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Page[Item]:
    """The page of `limit` items; `rows` has one more where there is another page."""
    items = list(rows[:limit])
    return Page(items, cursor(items[-1]) if len(rows) > limit else None)


def number(written: str | None) -> int | None:
    """An id of a filter, as SQL knows it."""
    return None if written is None else int(written)
