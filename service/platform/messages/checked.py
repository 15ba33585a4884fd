"""Messages of types that are reported and that SQL can't keep: held to their schemas here.

It is done between two transactions, since it may take long. The first is refused, by UNCHECKED; the
second publishes with what was found, if the type is still the same.
"""

from typing import Any, LiteralString, NamedTuple

import msgspec

from catalogue.faults import Fault
from service.checking.frames import Question
from service.database.transaction import Transaction
from service.web.operations.operation import Call

# The SQLSTATE of outbox.publish_checked: a message is to be held to another version.
UNCHECKED = "OB409"
# Of a message on another channel than the type's.
NOT_HERE = Fault("", "channel", "")


class Unchecked(msgspec.Struct, frozen=True):
    """A message of a request, 0 the first, and what it is to be held to; None: to nothing here."""

    index: int
    version: int | None
    schema: str | None
    is_here: bool | None


class Checked(NamedTuple):
    """Of each message the version that it was held to, and its first fault: parameters in SQL."""

    versions: list[int | None]
    pointers: list[str | None]
    keywords: list[str | None]


def nothing(count: int) -> Checked:
    """Of so many messages."""
    return Checked([None] * count, [None] * count, [None] * count)


# Of what SQL keeps, and of what is not reported, `version` is NULL.
TO_CHECK: LiteralString = """
    select (form.position - 1)::integer as index, v.version, v.schema,
           form.channel = any (t.channels) as is_here
    from unnest(%(channels)s::text[], %(types)s::text[], %(versions)s::integer[])
        with ordinality as form (channel, type, version, position)
    left join (outbox.event_type as t
               join outbox.event_type_version as v
                   on v.event_type_id = t.id and v.version = t.version and v.decides is null)
        on t.type = form.type and t.enforcement = 'report'
           and (t.of_key is null or form.channel = any (t.channels))
    where form.version is distinct from v.version
"""


async def check(call: Call[Any, Any], columns: dict[str, Any]) -> None:
    """Notes in `columns`, which has Checked among them, what is found."""

    async def work(transaction: Transaction) -> list[Unchecked]:
        return await transaction.all(Unchecked, TO_CHECK, columns)

    unchecked = await call.database.run(work)
    payloads = columns["payloads"]
    asked = {
        one.index: Question(one.schema, payloads[one.index], 1)
        for one in unchecked
        if one.schema is not None and one.is_here
    }
    found = await call.checker.faults(list(asked.values())) if asked else []
    faults = dict(zip(asked, found, strict=True))
    for one in unchecked:
        first = NOT_HERE if one.is_here is False else next(iter(faults.get(one.index, ())), None)
        columns["versions"][one.index] = one.version
        columns["pointers"][one.index] = None if first is None else first.pointer
        columns["keywords"][one.index] = None if first is None else first.keyword
