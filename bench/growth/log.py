"""The log that grows: 500-byte messages, emptied or added to."""

from typing import LiteralString

from bench.arena import Connection
from bench.messages import TOPIC

GROUPS = 1000
# By one transaction, so that a log of millions comes from many, as in life.
TOGETHER = 200_000


def empty(connection: Connection) -> None:
    """Takes every message out of the log."""
    connection.execute("truncate outbox.message")
    # Before the next fill: a page that is first touched after a checkpoint is logged whole.
    connection.execute("checkpoint")


ADD: LiteralString = """
insert into outbox.message (channel, type, group_key, payload)
select %(topic)s, 'order.paid', 'group-' || n %% %(groups)s,
       convert_to(rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}', 'UTF8')
from generate_series(%(first)s::bigint, %(last)s::bigint) as n
"""


def add(connection: Connection, messages: int, groups: int = GROUPS) -> None:
    """Puts this many messages on top of what the log holds."""
    for first in range(1, messages + 1, TOGETHER):
        last = min(first + TOGETHER - 1, messages)
        parameters = {"topic": TOPIC, "groups": groups, "first": first, "last": last}
        connection.execute(ADD, parameters)


PASS = """
insert into outbox.checkpoint (cursor_id, n, seen, relay)
select cursor_id, max(n) + 1, pg_current_snapshot(), 'bench'
from outbox.checkpoint group by cursor_id
"""
AGE = """
update outbox.known_partition
set from_time = from_time - days, upto_time = upto_time - days, made_at = made_at - days,
    xid = '3'
from make_interval(days => %(days)s) as days
where parent = 'outbox.message'
"""
RETIRE = """
select outbox.retire_partition(partition, %(retention)s)
from outbox.partition_state(%(retention)s) where past_retention
"""


def retain(connection: Connection, retention_days: int) -> None:
    """Lets as many days pass as are retained, and more, with some messages in each partition."""
    parameters = {"retention": retention_days, "days": -(-retention_days // 4)}
    for _ in range(8):
        add(connection, GROUPS)
        connection.execute(PASS)
        connection.execute(AGE, parameters)
        connection.execute("select outbox.make_partitions(%(retention)s)", parameters)
        # Truncated the first time, dropped the second.
        connection.execute(RETIRE, parameters)
        connection.execute(RETIRE, parameters)
