"""Rows in outbox.delivery: what a run did not confirm. Their states: see outbox.delivery_state."""

from collections.abc import Sequence

from relay.database import Connection
from relay.log.cursor import Cursor
from relay.log.dead_letters import write_dead_letters
from relay.log.message import CHANNEL, HEADERS, ID, MARKS, PAYLOAD, as_sent
from relay.log.sink import Dead
from relay.push.item import Item

# A late outcome finds its row still leased for so long after its request's time-out.
LEASE_SLACK_SECONDS = 2.0

# At a time, of those that wait by another schedule from now on.
MAX_RESCHEDULED = 5000
RESCHEDULE = "select outbox.reschedule(%s, %s)"


def reschedule(connection: Connection, cursor: Cursor) -> bool | None:
    """The next part of a change of when rows are due; whether it was the last.

    Before anything else is done with them. None: an operator is changing that change.
    """
    row = connection.execute(RESCHEDULE, (cursor.id, MAX_RESCHEDULED)).fetchone()
    return row[0] if row else None


CLEAR_ACKED = "select outbox.clear_acked(%s)"

# Heads first: what was redriven or replayed may have a lower id than the head that it is behind.
# LIMIT 1 keeps each row and message a look into its index: joined, all of them would be read. The
# limits, of heads and of those behind each, are written out, so that the planner knows how little
# is joined: a parameter it takes for a tenth of all rows. The sum bounds the bytes, whatever the
# messages' size.
LOAD = """
with head as (
    select first.message_id, first.group_key
    from (
        select d.message_id, d.group_key
        from outbox.delivery d
        where d.cursor_id = %(cursor)s and d.due_at <= (select clock_timestamp())
        order by d.due_at
        limit 512
    ) first
    limit %(heads)s
),
chosen as (
    select head.message_id, 0 as place from head
    union all
    select follower.message_id, 1
    from head
    cross join lateral (
        select f.message_id
        from outbox.delivery f
        where f.cursor_id = %(cursor)s and f.group_key = head.group_key and f.due_at is null
        order by f.message_id
        limit 32) follower
)
select d.message_id, coalesce(m.channel, l.channel), coalesce(m.type, l.type),
       coalesce(m.group_key, l.group_key), coalesce(m.idempotency_key, l.idempotency_key),
       coalesce(m.headers, l.headers), coalesce(m.content_type, l.content_type),
       coalesce(m.payload, l.payload), coalesce(m.created_at, l.created_at),
       coalesce(m.type_version, l.type_version),
       d.group_key, d.attempts, d.outcome, d.reason, d.detail, d.dead_letter_id, d.replayed
from (
    select d.*, chosen.place, sum(coalesce(octet_length(m.payload), octet_length(l.payload)))
                    over (order by chosen.place, d.message_id) as bytes
    from chosen
    cross join lateral (
        select d.* from outbox.delivery d
        where d.cursor_id = %(cursor)s and d.message_id = chosen.message_id
        limit 1) d
    left join lateral (
        select m.payload from outbox.message m
        where m.priority::integer = %(priority)s::integer and m.id + 0 = d.message_id
        limit 1) m on d.dead_letter_id is null
    left join outbox.dead_letter l on l.id = d.dead_letter_id
) d
left join lateral (
    select m.* from outbox.message m
    where m.priority::integer = %(priority)s::integer and m.id + 0 = d.message_id
    limit 1) m on d.dead_letter_id is null
left join outbox.dead_letter l on l.id = d.dead_letter_id
where coalesce(d.bytes, 0) < 4000000
order by d.place, d.message_id
"""


def load(connection: Connection, cursor: Cursor, max_heads: int) -> tuple[int, list[Item]]:
    """Takes away what was acknowledged late; then the heads that are due with their followers.

    Returns how many were taken away, and the items in the order in which each group has to go.
    """
    cleared = connection.execute(CLEAR_ACKED, (cursor.id,)).fetchone()
    parameters = {
        "cursor": cursor.id,
        "priority": cursor.priority,
        "heads": max_heads,
    }
    with as_sent(connection.cursor(binary=True)) as reader:
        found = reader.execute(LOAD, parameters, prepare=True).fetchall()
    return (cleared[0] if cleared else 0), [_item(*row) for row in found]


def _item(*columns: object) -> Item:
    row, rest = columns[:MARKS], columns[MARKS:]
    group_key, number, outcome, reason, detail, dead_letter_id, replayed = rest
    message_id, headers, payload = row[ID], row[HEADERS], row[PAYLOAD]
    payload_bytes = len(payload) if isinstance(payload, bytes) else 0
    values = {
        "message_id": message_id,
        "row": (*row, 0) if row[CHANNEL] is not None else None,
        "payload_bytes": payload_bytes,
        "held_bytes": payload_bytes + (len(headers) if isinstance(headers, bytes) else 0),
        "group_key": group_key,
        "fresh": False,
        "attempts": number,
        "outcome": _text(outcome),
        "reason": _text(reason),
        "detail": _text(detail),
        "dead_letter_id": dead_letter_id,
        "replayed": replayed,
    }
    return Item(**values)  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    return value.decode() if isinstance(value, bytes) else None


DELETE = """
with gone as (
    delete from outbox.delivery
    where cursor_id = %(cursor)s and message_id = any (%(messages)s::bigint[])
    returning dead_letter_id, attempts
)
update outbox.dead_letter dead
set delivered_at = clock_timestamp(), attempts = dead.attempts + gone.attempts + %(made)s,
    redriven_at = coalesce(dead.redriven_at, clock_timestamp())
from gone where dead.id = gone.dead_letter_id
"""


def delete(connection: Connection, cursor: Cursor, items: Sequence[Item]) -> None:
    """Deletes the rows of items that have arrived or are missing; notes it at dead letters."""
    for made, some in (
        (1, [item.message_id for item in items if item.sent_at]),
        # Acknowledged before this run: their rows count that attempt already.
        (0, [item.message_id for item in items if not item.sent_at]),
    ):
        if some:
            connection.execute(DELETE, {"cursor": cursor.id, "messages": some, "made": made})


DIED_AGAIN = """
update outbox.dead_letter
set reason = %(reason)s, detail = %(detail)s, exhausted = %(exhausted)s,
    attempts = attempts + %(attempts)s, died_at = clock_timestamp(), redriven_at = null
where id = %(dead_letter)s
"""
SKIP = "delete from outbox.delivery where cursor_id = %(cursor)s and message_id = %(message)s"
PARK = """
insert into outbox.delivery
    (cursor_id, message_id, group_key, attempts, due_at, reason, detail, dead_letter_id)
select %(cursor)s, %(message)s, %(group)s, %(attempts)s, 'infinity', %(reason)s, %(detail)s, l.id
from outbox.dead_letter l
where l.cursor_id = %(cursor)s and l.message_id = %(message)s
on conflict (cursor_id, message_id) do update
    set due_at = 'infinity', token = null, outcome = null, attempts = excluded.attempts,
        reason = excluded.reason, detail = excluded.detail, dead_letter_id = excluded.dead_letter_id
"""


def write_dead_letter(connection: Connection, cursor: Cursor, item: Item, *, park: bool) -> None:
    """Gives an item up; `park`: its group waits for it."""
    assert item.verdict is not None
    said, verdict = _said(item), item.verdict
    values = {
        "cursor": cursor.id,
        "message": item.message_id,
        "dead_letter": item.dead_letter_id,
        "group": _group(item),
        "attempts": verdict.attempts,
        "exhausted": verdict.exhausted,
        **said,
    }
    if item.dead_letter_id is None:
        reason, detail = said["reason"] or "", said["detail"] or ""
        dead = Dead(item.message_id, reason, detail, verdict.attempts, verdict.exhausted)
        write_dead_letters(connection, cursor, [dead])
    else:
        connection.execute(DIED_AGAIN, values)
    if park and item.group_key is not None:
        connection.execute(PARK, values)
    elif not item.fresh:
        connection.execute(SKIP, values)


# An outcome that came late and was written meanwhile stands: it is the newer.
UPDATE = """
update outbox.delivery d
set attempts = kept.attempts, token = kept.token, reason = kept.reason, detail = kept.detail,
    due_at = clock_timestamp() + make_interval(secs => kept.seconds)
from unnest(%(messages)s::bigint[], %(attempts)s::integer[], %(tokens)s::bigint[],
            %(seconds)s::float8[], %(reasons)s::text[], %(details)s::text[])
     as kept (message_id, attempts, token, seconds, reason, detail)
where d.cursor_id = %(cursor)s and d.message_id = kept.message_id and d.outcome is null
"""
# Where a replay passes what already waits, the row that waits stays.
INSERT = """
insert into outbox.delivery
    (cursor_id, message_id, group_key, attempts, token, due_at, reason, detail, replayed)
select %(cursor)s, message_id, group_key, attempts, token,
       clock_timestamp() + make_interval(secs => seconds), reason, detail, replayed
from unnest(%(messages)s::bigint[], %(groups)s::text[], %(attempts)s::integer[],
            %(tokens)s::bigint[], %(seconds)s::float8[], %(reasons)s::text[], %(details)s::text[],
            %(replayed)s::boolean[])
     as kept (message_id, group_key, attempts, token, seconds, reason, detail, replayed)
on conflict (cursor_id, message_id) do nothing
"""


def keep(
    connection: Connection, cursor: Cursor, items: Sequence[Item], lease_seconds: float
) -> None:
    """Writes what has to be sent again, what is in flight, and what is behind either."""
    for statement, some in (
        (UPDATE, [item for item in items if not item.fresh]),
        (INSERT, [item for item in items if item.fresh]),
    ):
        if some:
            connection.execute(statement, {"cursor": cursor.id} | _columns(some, lease_seconds))


def _columns(items: Sequence[Item], lease_seconds: float) -> dict[str, object]:
    said = [_said(item) for item in items]
    return {
        "messages": [item.message_id for item in items],
        "groups": [_group(item) for item in items],
        "attempts": [_attempts(item) for item in items],
        "tokens": [item.token for item in items],
        "seconds": [_due_in(item, lease_seconds) for item in items],
        "reasons": [one["reason"] for one in said],
        "details": [one["detail"] for one in said],
        "replayed": [item.replayed for item in items],
    }


def _attempts(item: Item) -> int:
    """A verdict that comes while the row of what is in flight is written will update it."""
    return item.verdict.attempts if item.verdict and item.token is None else item.attempts


def _due_in(item: Item, lease_seconds: float) -> float | None:
    """NULL: behind a head of its group, or to be made one."""
    if item.token is not None:
        return lease_seconds
    if item.verdict is not None and item.verdict.kind == "retry":
        return item.verdict.delay_seconds
    return 0.0 if item.group_key is None else None


def _group(item: Item) -> str | None:
    return None if item.group_key is None else item.group_key.decode()


def _said(item: Item) -> dict[str, str | None]:
    """What the last attempt was answered; of a row without one, what it said before."""
    if item.answer is None or item.token is not None:
        return {"reason": item.reason, "detail": item.detail}
    return {"reason": item.answer.error, "detail": item.answer.detail}


PROMOTE = "select outbox.promote(%s, %s)"


def promote(connection: Connection, cursor: Cursor, items: Sequence[Item]) -> None:
    """Makes heads of what comes next in the groups of these."""
    groups = sorted({group for item in items if (group := _group(item)) is not None})
    if groups:
        connection.execute(PROMOTE, (cursor.id, groups))
