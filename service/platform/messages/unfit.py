"""Messages that do not fit their event types: which of a request, and what of them."""

from collections.abc import Mapping
from typing import Any, LiteralString, NamedTuple

import msgspec
from psycopg import DatabaseError

from service.database.transaction import Transaction
from service.problems import Fault, Problem
from service.web.operations.operation import Call

MAX_FAULTS = 20
NOT_HERE = "the type is registered for other channels"


class Place(NamedTuple):
    """Where a message stands in the body, by its index: as a path, and as a pointer (RFC 6901)."""

    path: str
    pointer: str


class Unfit(msgspec.Struct, frozen=True):
    """A fault of one of a request's messages, 0 the first; `pointer` is of its payload."""

    index: int
    type: str
    version: int
    pointer: str
    keyword: str
    detail: str


# The rules are SQL's alone. It is asked again: the refusal names the first fault of one message.
# Those that fit are passed over first, which takes much less than to find a fault.
FAULTS: LiteralString = """
    with unfit as materialized (
        select form.position, form.channel, form.payload, known.id, known.type, known.version
        from unnest(%(channels)s::text[], %(types)s::text[], %(payloads)s::bytea[])
            with ordinality as form (channel, type, payload, position)
        join outbox.event_type as known on known.type = form.type and known.enforcement = 'refuse'
        join outbox.event_type_version as version
            on version.event_type_id = known.id and version.version = known.version
        where case
                  when form.channel = any (known.channels) then
                      not outbox.payload_fits(form.payload, version.decides, version.checks)
                  else known.of_key is null
              end
        order by form.position
        limit %(at_most)s
    )
    select (unfit.position - 1)::integer as index, unfit.type, unfit.version,
           fault.pointer, fault.keyword, fault.detail
    from unfit
    cross join lateral outbox.event_faults(unfit.id, unfit.channel, unfit.payload, %(at_most)s)
        as fault
    order by unfit.position
    limit %(at_most)s
"""


async def problem(
    call: Call[Any, Any], columns: Mapping[str, object], place: Place, error: DatabaseError
) -> Problem:
    """422 with the faults of all of the request's messages, so many at most."""

    async def work(transaction: Transaction) -> list[Unfit]:
        return await transaction.all(Unfit, FAULTS, {**columns, "at_most": MAX_FAULTS})

    found = await call.database.run(work)
    is_limited = call.caller.channels is not None
    if not found:
        # The type was changed meanwhile.
        is_hidden = is_limited and error.diag.column_name == "channel"
        detail = NOT_HERE if is_hidden else error.diag.message_detail
        return Problem(422, f"{error.diag.message_primary}: {detail}.")
    for _, type_ in {(one.index, one.type) for one in found}:
        call.metrics.unfit(type_)
    faults = [
        Fault(
            pointer=_pointer(one, place),
            keyword=one.keyword,
            # Who is limited to channels does not learn of others.
            detail=NOT_HERE if is_limited and one.keyword == "channel" else one.detail,
        )
        for one in found
    ]
    first = found[0]
    field = f"{place.path.format(first.index)}{_field(first)}"
    detail = (
        f"{field} does not fit version {first.version} of {first.type}: "
        f'at "{faults[0].pointer}" ({first.keyword}): {faults[0].detail}.'
    )
    return Problem(422, detail, field=field, faults=faults)


def _field(one: Unfit) -> str:
    return "channelId" if one.keyword == "channel" else "payload"


def _pointer(one: Unfit, place: Place) -> str:
    return f"{place.pointer.format(one.index)}/{_field(one)}{one.pointer}"
