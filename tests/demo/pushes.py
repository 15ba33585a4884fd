"""Webhooks that went as they must: one outage, one message refused, redriven and delivered."""

from contextlib import closing
from typing import Any

from demo.places import Places
from demo.subscribers import records
from demo.subscribers.records import Record
from demo.subscriptions import SUBSCRIBERS

SUBSCRIBE = """
    select outbox.subscribe(name, 'orders.lifecycle', 'http://127.0.0.1:9/' || name)
    from unnest(%s::text[]) as name
"""
LIFECYCLE = """
    select idempotency_key from outbox.message where channel = 'orders.lifecycle' order by id
"""
# The breaker is open from a second before the first message on, for ten seconds.
HISTORY = """
    create temporary table first_message as
    select * from outbox.message where channel = 'orders.lifecycle' order by id limit 1;

    select outbox.publish_own('outbox.events', 'subscription.breaker_' || event,
                              json_build_object('at', created_at + at), group_key => 'billing')
    from first_message,
         (values ('opened', interval '-1 second'), ('closed', '9 seconds')) as told (event, at)
    order by at;

    insert into outbox.attempt_log (subscription_id, message_id, idempotency_key, number, at,
                                duration_seconds, status, error, relay)
    select subscription.id, first_message.id, idempotency_key, number,
           first_message.created_at + at, 0.25, status, error, 'relay-1'
    from first_message,
         (values ('billing', 1, interval '-2 seconds', 500, 'http_500'),
                 ('billing', 2, '1 second', 500, 'http_500'),
                 ('billing', 2, '3 seconds', 204, null),
                 ('fulfilment', 1, '10 milliseconds', 204, null),
                 ('analytics', 1, '20 milliseconds', 204, null),
                 ('notifications', 1, '5 milliseconds', 422, 'http_422'),
                 ('notifications', 2, '30 milliseconds', 204, null))
             as made (name, number, at, status, error)
    join outbox.subscription using (name);

    insert into outbox.dead_letter (subscription_id, cursor_id, message_id, priority, channel, type,
                                    idempotency_key, content_type, payload, created_at, reason,
                                    detail, attempts, redriven_at, delivered_at)
    select subscription.id, cursor.id, m.id, m.priority, m.channel, m.type, m.idempotency_key,
           m.content_type, m.payload, m.created_at, 'http_422', '', 1, now(), now()
    from first_message as m, outbox.subscription
    join outbox.cursor on cursor.subscription_id = subscription.id and cursor.priority = 3
    where subscription.name = 'notifications';
"""


def push(sale: Any, places: Places) -> None:
    """Subscribes all, and has everything on orders.lifecycle arrive."""
    sale.execute(SUBSCRIBE, [list(SUBSCRIBERS)])
    sale.execute(HISTORY)
    for path in places.records.values():
        records.make(path)
        with closing(Record(path)) as record:
            for (key,) in sale.execute(LIFECYCLE):
                assert record.write(key, "order", "order.created", "accepted")
