"""A subscription `billing` to an endpoint, for the tests of the commands."""

from relay.database import Connection
from relay.operate import subscription_list

ENDPOINT = "https://billing.example.com/in?token=hunter2"
FAIL = """
    update outbox.breaker
    set failing_since = clock_timestamp() - interval '6 days', opened_at = clock_timestamp(),
        retry_at = clock_timestamp() + interval '1 hour'
"""
ROW = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at, token)
    select cursor.id, %(id)s, %(group)s, 1,
           case %(state)s when 'behind' then null when 'parked' then 'infinity'
               else clock_timestamp() + interval '1 hour' end,
           case %(state)s when 'in_flight' then 7 end
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""


def billing(connection: Connection) -> subscription_list.Listed:
    (one,) = [one for one in subscription_list.read(connection) if one.name == "billing"]
    return one
