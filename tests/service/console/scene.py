"""What an operator may find in the console: busy, failing, full, hostile and long; all by SQL."""

import math
from typing import Any, NamedTuple

import psycopg

from service.platform import keys
from service.web.access.keys import SCOPES

HOSTILE = "<script>document.title = 'taken'</script>"
LONG_CHANNEL = "a-channel-of-two-hundred-characters." + "x" * 164
# As many as one redrive takes, and one more.
DEAD_LETTERS = 10_001
DEAD_MESSAGE = 900_000_000

SUBSCRIBE = """
    select subscription_id from outbox.subscribe(%s, %s, %s, '{}'::jsonb, null, %s, null, null)
"""
CHECKPOINT = """
    insert into outbox.checkpoint
        (cursor_id, n, seen, relay, messages, failures, created_at)
    select cursor.id, %s, pg_current_snapshot(), 'relay-1', %s, %s,
           clock_timestamp() - make_interval(mins => %s)
    from outbox.cursor where subscription_id = %s and priority = 3 and shard = 0
"""
PUBLISH = """
    select outbox.publish(channel => %s, type => %s, payload => %s, group_key => %s,
                          idempotency_key => %s)
"""
DEAD = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, group_key,
         idempotency_key, headers, content_type, payload, created_at, reason, detail, attempts,
         died_at)
    select subscription_id, cursor.id, %(first)s + number, 3, %(channel)s, %(type)s,
           'group ' || number %% 50, 'dead-' || number, '{"traceparent": "00-1"}',
           'application/json', convert_to(%(payload)s, 'UTF8'), clock_timestamp(), %(reason)s,
           'answered 500 Internal Server Error', 9,
           clock_timestamp() - make_interval(secs => number)
    from outbox.cursor, generate_series(1, %(many)s) as number
    where subscription_id = %(subscription_id)s and priority = 3 and shard = 0
"""
ATTEMPTS = """
    insert into outbox.attempt_log
        (subscription_id, message_id, at, duration_seconds, number, status, idempotency_key, relay,
         error, detail, answer, next_at)
    select %(id)s, %(message_id)s, clock_timestamp() - make_interval(secs => 40 * number), 0.031,
           number, 500, 'order-8', 'relay-1', 'http_500', 'answered 500 Internal Server Error',
           convert_to(%(answer)s, 'UTF8'), clock_timestamp() + interval '2 min'
    from generate_series(1, 12) as number
"""
CONNECT_IN = """
    select outbox.connect_in('partner-orders', %s, 'kafka', '{"topic": "partner.orders"}',
                             3::smallint)
"""
INWARD_DEAD = """
    with waiting as (
        update outbox.source
        set waiting_since = clock_timestamp() - interval '3 min', waiting_reason = 'topic_absent'
        where id = %s returning id
    )
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, value, header_names, header_values, reason,
         detail)
    select id, 'partner.orders', 0, 7, '{}', '{}', '{}', 'bad_event', 'it is none' from waiting
"""
BREAKER = """
    update outbox.breaker
    set opened_at = clock_timestamp() - interval '4 min',
        failing_since = clock_timestamp() - interval '12 min',
        retry_at = clock_timestamp() + interval '1 hour'
    where subscription_id = %s
"""


class Scene(NamedTuple):
    """Ids, by what there is to see of them, and the key of an operator."""

    key: str
    busy: int
    failing: int
    source: int
    dead_letter: int
    message: str


def fill(database: psycopg.Connection[Any]) -> Scene:
    """Needs an empty database with the schema, as its owner, in autocommit."""
    with database.transaction():
        busy = _subscribe(database, "billing", "orders.lifecycle", 1)
        failing = _subscribe(database, "warehouse-notifications", LONG_CHANNEL, 1)
        for name in ("analytics", "search-index", "a-name-" + "of-a-hundred-characters-" * 3):
            _subscribe(database, name, "orders.lifecycle", 1)
        for minute in range(59, -1, -1):
            wave = round(900 + 700 * math.sin(minute / 7))
            database.execute(CHECKPOINT, [100 - minute, wave, 0, minute, busy])
            failures = 12 if minute < 12 else 0
            delivered = 0 if failures else wave // 9
            database.execute(CHECKPOINT, [100 - minute, delivered, failures, minute, failing])
        message = ""
        for number, (channel, type_) in enumerate(
            [("orders.lifecycle", "order.opened"), (LONG_CHANNEL, HOSTILE)] * 6
        ):
            payload = f'{{"id": {number}, "note": "{HOSTILE}"}}'
            row = database.execute(
                PUBLISH, [channel, type_, payload, f"order {number % 3}", f"order-{number}"]
            ).fetchone()
            message = str(row[0]) if row else message
        database.execute(
            DEAD,
            {
                "first": DEAD_MESSAGE,
                "channel": LONG_CHANNEL,
                "type": HOSTILE,
                "payload": f'{{"note": "{HOSTILE}", "total": 8}}',
                "reason": "http_500",
                "many": DEAD_LETTERS,
                "subscription_id": failing,
            },
        )
        answer = f"{HOSTILE} the warehouse is closed"
        database.execute(ATTEMPTS, {"id": failing, "message_id": int(message), "answer": answer})
        database.execute(BREAKER, [failing])
        source = _connect_in(database)
        key = keys.create(database, "operator", SCOPES)
    row = database.execute("select max(id) from outbox.dead_letter").fetchone()
    assert row is not None
    return Scene(key, busy, failing, source, int(row[0]), message)


class Late(NamedTuple):
    """A subscription whose buttons may be pressed, and a message of its channel."""

    subscription: int
    message: str


def add_late(database: psycopg.Connection[Any]) -> Late:
    """Called `late`, with three dead letters."""
    subscription = _subscribe(database, "late", "orders.late", 1)
    row = database.execute(PUBLISH, ["orders.late", "order.late", "{}", "1", "late-1"]).fetchone()
    assert row is not None
    dead = {
        "first": DEAD_MESSAGE - 100,
        "channel": "orders.late",
        "type": "order.late",
        "payload": "{}",
        "reason": "timeout",
        "many": 3,
        "subscription_id": subscription,
    }
    database.execute(DEAD, dead)
    return Late(subscription, str(row[0]))


def _connect_in(database: psycopg.Connection[Any]) -> int:
    """A connector that takes in a topic, waits, and has a dead letter."""
    row = database.execute(CONNECT_IN, [LONG_CHANNEL]).fetchone()
    assert row is not None
    database.execute(INWARD_DEAD, [row[0]])
    return int(row[0])


def _subscribe(database: psycopg.Connection[Any], name: str, channel: str, shards: int) -> int:
    endpoint = "https://hooks.example.com/orders"
    row = database.execute(SUBSCRIBE, [name, channel, endpoint, shards]).fetchone()
    assert row is not None
    return int(row[0])
