"""What is wrong with the log, its cursors and what waits in it is named."""

import uuid
from typing import LiteralString

import pytest
from psycopg import sql

from relay.database import Connection
from relay.doctor import log
from tests.relay.doctor.examining import findings, found
from tests.relay.operating import add_dead_letter, publish


@pytest.mark.parametrize("slip", ["cache 50", "increment -1", "cycle"])
def test_ids_that_are_not_drawn_in_order_are_a_fault(
    database_url: str, connection: Connection, slip: LiteralString
) -> None:
    connection.execute("alter sequence outbox.message_id_seq " + slip)
    finding = found(database_url, "ids")
    assert (finding.level, "increment 1 cache 1 no cycle" in finding.hint) == ("fault", True)


def test_a_cursor_that_is_missing_is_a_fault(database_url: str, connection: Connection) -> None:
    connection.execute("delete from outbox.cursor where priority = 4")
    finding = found(database_url, "cursors")
    assert (finding.level, "kafka has 4 cursors" in finding.text) == ("fault", True)


def test_a_gap_in_the_checkpoints_is_a_fault(database_url: str, connection: Connection) -> None:
    connection.execute(
        "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
        " values (1, 2, pg_current_snapshot(), 'test')"
    )
    finding = found(database_url, "cursors")
    assert (finding.level, "cursor 1 " in finding.text) == ("fault", True)


def test_a_paused_subscription_is_a_warning(database_url: str, connection: Connection) -> None:
    connection.execute("update outbox.subscription set paused = true, paused_reason = 'inventory'")
    finding = found(database_url, "paused")
    assert (finding.level, "inventory" in finding.text) == ("warning", True)


def test_a_channel_that_waits_is_a_warning(database_url: str, connection: Connection) -> None:
    connection.execute(
        "insert into outbox.cursor (subscription_id, shard, priority, channel,"
        " waiting_since, waiting_reason) values (1, 0, 3, 'orders', clock_timestamp(), 'no topic')"
        " returning id"
    )
    finding = found(database_url, "waiting")
    assert (finding.level, "orders of kafka" in finding.text) == ("warning", True)


def test_a_log_without_a_partition_ahead_is_a_warning(
    database_url: str, connection: Connection
) -> None:
    connection.execute("drop table outbox.message_1")
    finding = found(database_url, "partitions")
    assert (finding.level, "make_partitions" in finding.hint) == ("warning", True)


def test_dead_letters_that_wait_are_a_warning(database_url: str, connection: Connection) -> None:
    add_dead_letter(connection, 1)
    finding = found(database_url, "dead letters")
    assert (finding.level, finding.text) == ("warning", "1 of kafka wait to be redriven")


def test_who_holds_vacuum_back_is_named(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LONG_TRANSACTION_SECONDS", 0.0)
    gid = f"forgotten-{uuid.uuid4().hex}"
    with connection.transaction():
        publish(connection)
        connection.execute(sql.SQL("prepare transaction {}").format(sql.Literal(gid)))
    try:
        horizon = [one for one in findings(database_url) if one.what == "horizon"]
        (finding,) = [one for one in horizon if gid in one.text]
        assert (finding.level, f"rollback prepared '{gid}'" in finding.hint) == ("warning", True)
    finally:
        connection.execute(sql.SQL("rollback prepared {}").format(sql.Literal(gid)))
