"""GET /v1/deliveries: what is neither in the log any more nor delivered."""

from datetime import datetime
from typing import Literal, LiteralString

import msgspec

from service.platform.fields import Id
from service.platform.pages import Page, PageQuery, number, page, select
from service.web.operations.operation import Call

State = Literal["untried", "retrying", "inFlight", "behind", "parked"]


class DeliveryQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """Filters."""

    subscription_id: Id | None = None
    state: State | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One message on its way to one subscription; `detail` is for keys that may manage.

    `untried`: its first attempt is at `dueAt`. `retrying`: its next one is. `inFlight`: a request
    is under way, or has just ended. `behind`: waits for those before it in its group. `parked`:
    given up, and its group waits.
    """

    subscription_id: Id
    message_id: Id
    group_key: str | None
    state: State
    attempts: int
    due_at: datetime | None
    reason: str | None
    detail: str | None
    replayed: bool
    dead_letter_id: Id | None


class Row(Delivery, frozen=True, kw_only=True):
    """With its place in the list."""

    place: str


# Heads are few and found by their index; the rest of a group is read along the primary key.
# Everything is bounded per cursor before the cursors are put together.
LIST: LiteralString = """
    select c.subscription_id::text as subscription_id, d.message_id::text as message_id,
           d.group_key, d.state, d.attempts, nullif(d.due_at, 'infinity') as due_at, d.reason,
           d.detail, d.replayed, d.dead_letter_id::text as dead_letter_id,
           c.id || '-' || d.message_id as place
    from outbox.cursor as c
    cross join lateral (
        (select head.*, replace(outbox.delivery_state(due_at, token, outcome, attempts),
                                'in_flight', 'inFlight') as state
         from outbox.delivery as head
         where cursor_id = c.id and due_at is not null
           and (c.id > %(cursor)s or message_id > %(message)s)
           and (%(state)s::text is null
                or %(state)s = replace(outbox.delivery_state(due_at, token, outcome, attempts),
                                       'in_flight', 'inFlight'))
         order by message_id limit %(rows)s)
        union all
        (select behind.*, 'behind'
         from outbox.delivery as behind
         where cursor_id = c.id and due_at is null
           and (c.id > %(cursor)s or message_id > %(message)s)
           and coalesce(%(state)s::text, 'behind') = 'behind'
         order by message_id limit %(rows)s)
        order by message_id limit %(rows)s
    ) as d
    where c.id >= %(cursor)s
      and (%(subscription_id)s::bigint is null or c.subscription_id = %(subscription_id)s)
      and (%(visible)s::bigint[] is null or c.subscription_id = any (%(visible)s))
    order by c.id, d.message_id
    limit %(rows)s
"""


async def list_deliveries(call: Call[None, DeliveryQuery]) -> Page[Delivery]:
    """Deliveries that wait for an attempt, in flight, behind one of their group, or parked."""
    cursor, message = call.query.place() or (0, 0)
    parameters = {
        "cursor": cursor,
        "message": message,
        "subscription_id": number(call.query.subscription_id),
        "state": call.query.state,
        "rows": call.query.limit + 1,
    }
    rows = await select(call, Row, LIST, parameters)
    found = page(rows, call.query.limit, lambda row: row.place)
    whole = "manage" in call.caller.scopes
    return Page([_shown(row, whole=whole) for row in found.items], found.next_cursor)


def _shown(row: Row, *, whole: bool) -> Delivery:
    fields = msgspec.structs.asdict(row)
    del fields["place"]
    if not whole:
        # The endpoint's own words, which may repeat its URL.
        fields["detail"] = None
    return Delivery(**fields)
