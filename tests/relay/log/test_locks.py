"""Whatever the retention, relays leave room in the lock table of a server of default settings."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import PostgresServer, Spawn, server_address
from tests.receiver import Receiver
from tests.relay.push.stage import ALLOWED, NEVER_OPENS
from tests.relay.stage import Stage
from tests.sql.log import Session, let_days_pass, one, publish

pytestmark = pytest.mark.long

SUBSCRIPTIONS = 100
RELAYS = 3
RETENTION_DAYS = 3650
MESSAGES = 200
# max_locks_per_transaction times max_connections, as a server comes.
TABLE = 64 * 100

SUBSCRIBE = """
    select outbox.subscribe('s' || n, 'orders', %s, %s) from generate_series(1, %s) as n
"""
# What lies in the shared table. A session's first sixteen locks on relations need no room there.
HELD = """
    select count(*) from pg_locks where not fastpath
        and database = (select oid from pg_database where datname = current_database())
"""


def retain(db: Session) -> int:
    """Years of a log that every cursor has passed; how many partitions it came to."""
    for _ in range(12):
        publish(db)
        let_days_pass(db, RETENTION_DAYS // 3)
        db.execute("select outbox.make_partitions(%s)", [RETENTION_DAYS])
        db.execute(
            "select outbox.retire_partition(partition, %(days)s)"
            " from outbox.partition_state(%(days)s) where past_retention",
            {"days": RETENTION_DAYS},
        )
    partitions: int = one(
        db, "select count(*) from outbox.known_partition where parent = 'outbox.message'"
    )
    return partitions


def test_three_relays_and_a_hundred_endpoints_hold_a_quarter_of_it_at_most(
    pytestconfig: pytest.Config, spawn: Spawn, kafka: str, topic_prefix: str
) -> None:
    server = PostgresServer(server_address(pytestconfig, "postgres_16"))
    with (
        server.clone() as url,
        psycopg.connect(url, autocommit=True) as db,
        Receiver() as receiver,
    ):
        db.execute("delete from outbox.subscription")
        partitions = retain(db)
        db.execute(SUBSCRIBE, [receiver.url, Jsonb({"breaker": NEVER_OPENS}), SUBSCRIPTIONS])
        stage = Stage(url, kafka, topic_prefix, spawn)
        for _ in range(RELAYS):
            stage.relay(RELAY_RETENTION_DAYS=str(RETENTION_DAYS), **ALLOWED)
        most = 0
        while len(receiver.requests) < SUBSCRIPTIONS * MESSAGES:
            publish(db)
            most = max(most, one(db, HELD))
    assert partitions <= 7
    assert 0 < most <= TABLE / 4
