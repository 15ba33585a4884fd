"""Messages that a subscription gave up: each is kept with a copy of what it carries."""

from collections.abc import Sequence

from relay.database import Connection
from relay.log.cursor import Cursor
from relay.log.sink import Dead

# The dead letter of a message that died before keeps its id: a second redrive of it adds nothing.
WRITE = """
insert into outbox.dead_letter
    (subscription_id, cursor_id, message_id, priority, channel, type, group_key, idempotency_key,
     headers, content_type, payload, created_at, type_version, reason, detail, attempts, exhausted)
select %(subscription)s, %(cursor)s, m.id, m.priority, m.channel, m.type, m.group_key,
       m.idempotency_key, m.headers, m.content_type, m.payload, m.created_at, m.type_version,
       dead.reason, dead.detail, dead.attempts, dead.exhausted
from unnest(%(messages)s::bigint[], %(reasons)s::text[], %(details)s::text[],
            %(attempts)s::integer[], %(exhausted)s::text[])
     as dead (message_id, reason, detail, attempts, exhausted)
cross join lateral (
    select * from outbox.message
    where priority::integer = %(priority)s::integer and id + 0 = dead.message_id
) m
on conflict (cursor_id, message_id) do update
    set reason = excluded.reason, detail = excluded.detail, exhausted = excluded.exhausted,
        attempts = dead_letter.attempts + excluded.attempts,
        died_at = clock_timestamp(), redriven_at = null, delivered_at = null
"""


def write_dead_letters(connection: Connection, cursor: Cursor, dead: Sequence[Dead]) -> None:
    """Writes dead letters of messages in the log, in the transaction that is under way."""
    if not dead:
        return
    values = {
        "subscription": cursor.subscription_id,
        "cursor": cursor.id,
        "priority": cursor.priority,
        "messages": [one.message_id for one in dead],
        "reasons": [one.reason for one in dead],
        "details": [one.detail for one in dead],
        "attempts": [one.attempts for one in dead],
        "exhausted": [one.exhausted for one in dead],
    }
    connection.execute(WRITE, values)
