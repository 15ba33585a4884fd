"""What each subscription got in each minute of the last hour, for sparklines.

Checkpoints say it, for every kind of subscription; they are kept for an hour. Where runs are many
there are hundreds of thousands of them, so all are added up at once, and that then stands for a
while, however many pages ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from service.console.kept import Kept
from service.database.pool import Database
from service.database.transaction import Transaction

MINUTES = 60


@dataclass(frozen=True)
class Hour:
    """Messages delivered and attempts that failed by minute, the last minute last."""

    messages: Sequence[int]
    failures: Sequence[int]

    def per_second(self, minutes: int = 5) -> float:
        """Messages, on the average of the last minutes."""
        return sum(self.messages[-minutes:]) / (60 * minutes)


NOTHING = Hour((0,) * MINUTES, (0,) * MINUTES)


class Row(msgspec.Struct, frozen=True):
    """As SQL has it."""

    subscription_id: str
    minutes_ago: int
    messages: int
    failures: int


READ: LiteralString = """
    select cursor.subscription_id::text as subscription_id,
           floor(extract(epoch from now() - checkpoint.created_at) / 60)::integer as minutes_ago,
           sum(checkpoint.messages)::bigint as messages,
           sum(checkpoint.failures)::bigint as failures
    from outbox.checkpoint join outbox.cursor on cursor.id = checkpoint.cursor_id
    where checkpoint.relay <> '' and checkpoint.created_at > now() - interval '60 minutes'
      and (checkpoint.messages > 0 or checkpoint.failures > 0)
    group by 1, 2
"""


class Minutes(Kept[Mapping[str, Hour]]):
    """By the id of the subscription; one that got nothing is missing.

    It is of all subscriptions: a page shows of it what its key may see.
    """

    kept_seconds = 20.0
    timeout_seconds = 4.0

    def __init__(self, database: Database) -> None:
        super().__init__(database, _read)


async def _read(transaction: Transaction) -> Mapping[str, Hour]:
    found: dict[str, tuple[list[int], list[int]]] = {}
    for row in await transaction.all(Row, READ, {}):
        messages, failures = found.setdefault(row.subscription_id, ([0] * MINUTES, [0] * MINUTES))
        # What was noted since the statement began is of the last minute as well.
        place = MINUTES - 1 - min(max(0, row.minutes_ago), MINUTES - 1)
        messages[place] += row.messages
        failures[place] += row.failures
    return {id_: Hour(messages, failures) for id_, (messages, failures) in found.items()}
