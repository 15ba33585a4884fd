"""How many messages of each type were published in each 24 hours of the last week.

The log has no index by type, and none is worth what it would cost every publisher. A small log is
counted. Of a larger one some blocks are read, chosen by chance and the same each time, and what is
found in them is multiplied: that costs the same however large the log is. Two thousand blocks hold
26,000 messages of 500 bytes, so a type with a hundredth of all is told to within a tenth, and one
with a hundred-thousandth may be missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from service.console.kept import Kept
from service.database.pool import Database
from service.database.transaction import Transaction

DAYS = 7
# Blocks of 8 KB that are read at most.
MAX_BLOCKS = 2000


@dataclass(frozen=True)
class Published:
    """Messages of one type, `by_day` from the oldest to the last 24 hours."""

    by_day: Sequence[int]
    is_exact: bool

    @property
    def last_day(self) -> int:
        """In the last 24 hours."""
        return self.by_day[-1]

    @property
    def week(self) -> int:
        """In the last seven times 24 hours."""
        return sum(self.by_day)

    @property
    def heights(self) -> Sequence[int]:
        """Of a bar for each day, 0 to 20; what is not nothing is seen."""
        most = max(self.by_day)
        return [0 if day == 0 else max(2, round(20 * day / most)) for day in self.by_day]


@dataclass(frozen=True)
class Counted:
    """Of all types at once."""

    by_type: Mapping[str, Sequence[int]]
    is_exact: bool

    def of(self, type_: str) -> Published:
        """Of one type."""
        return Published(self.by_type.get(type_, (0,) * DAYS), self.is_exact)


class Row(msgspec.Struct, frozen=True):
    """As SQL has it."""

    type: str
    days_ago: int
    messages: int


BLOCKS: LiteralString = """
    select coalesce(sum(pg_relation_size(inhrelid)), 0)::bigint
           / current_setting('block_size')::bigint
    from pg_inherits where inhparent = 'outbox.message'::regclass
"""
COUNT: LiteralString = """
    select message.type,
           floor(extract(epoch from now() - message.created_at) / 86400)::integer as days_ago,
           count(*) as messages
    from outbox.message tablesample system (%(percent)s) repeatable (0)
    where message.created_at > now() - make_interval(days => %(days)s)
      and message.type = any (array(select type from outbox.event_type))
    group by 1, 2
"""


class Counts(Kept[Counted]):
    """Of all types."""

    kept_seconds = 60.0
    timeout_seconds = 4.0

    def __init__(self, database: Database) -> None:
        super().__init__(database, _count)


async def _count(transaction: Transaction) -> Counted:
    blocks = await transaction.value(int, BLOCKS, {}) or 0
    part = 1.0 if blocks <= MAX_BLOCKS else MAX_BLOCKS / blocks
    rows = await transaction.all(Row, COUNT, {"days": DAYS, "percent": 100 * part})
    found: dict[str, list[int]] = {}
    for row in rows:
        by_day = found.setdefault(row.type, [0] * DAYS)
        # What was written since the statement began is of today as well.
        by_day[DAYS - 1 - min(max(0, row.days_ago), DAYS - 1)] += row.messages
    scaled = {type_: [_scaled(one, part) for one in by_day] for type_, by_day in found.items()}
    return Counted(scaled, is_exact=part == 1.0)


def _scaled(found: int, part: float) -> int:
    """What so many found stand for, with the two digits that are not chance."""
    if part == 1.0 or found == 0:
        return found
    whole = round(found / part)
    return round(whole, 2 - len(str(whole)))
