"""Who holds back the horizon is told by kind, and for how long."""

import uuid

import msgspec
from prometheus_client import CollectorRegistry
from psycopg import sql

from relay.database import Connection
from relay.monitoring import gauges
from relay.monitoring.gauges import DatabaseCollector
from relay.monitoring.horizon import HeldBack
from tests.relay.operating import publish, relay_role, settings

OTHERS = 3


def told(url: str, name: str, kind: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(settings(url)))
    return registry.get_sample_value(f"outbox_relay_horizon_held_{name}", {"kind": kind})


def test_a_prepared_transaction_is_told_with_its_time_and_what_began_since(
    connection: Connection,
) -> None:
    """Other tests on this server may have older ones."""
    gid = sql.Literal(f"forgotten-{uuid.uuid4().hex}")
    with connection.transaction():
        publish(connection)
        connection.execute(sql.SQL("prepare transaction {}").format(gid))
    try:
        for _ in range(OTHERS):
            publish(connection)
        with relay_role(connection) as url:
            seconds = told(url, "seconds", "prepared transaction")
            transactions = told(url, "transactions", "prepared transaction")
    finally:
        connection.execute(sql.SQL("rollback prepared {}").format(gid))
    assert seconds is not None
    assert seconds > 0
    assert transactions is not None
    assert transactions >= OTHERS


def test_a_slot_has_no_time() -> None:
    slot = HeldBack("replication slot", None, 7)
    seconds, transactions = (
        one
        for one in gauges._gauges(msgspec.structs.replace(gauges.NOTHING, held_back=[slot]))
        if one.name.startswith("outbox_relay_horizon_held_")
    )
    assert seconds.samples == []
    assert [one.value for one in transactions.samples] == [7]
