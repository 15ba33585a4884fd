"""Maintenance that does not run, or leaves something out, is noted and an alarm."""

import json
import re
from collections.abc import Callable
from typing import NoReturn

import psycopg
import pytest
from prometheus_client import generate_latest
from psycopg import sql

from relay.daemon import retention
from relay.database import Connection, ReadOnlyError
from relay.monitoring import server as status_server
from relay.monitoring.telemetry import Telemetry
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.relay.monitoring.maintaining import LONG_AGO, found, maintain, seconds
from tests.relay.operating import outbox_relay, relay_role, settings
from tests.sql.log import let_days_pass, publish, turn


def test_a_round_is_noted_with_its_relay(connection: Connection, database_url: str) -> None:
    connection.execute(LONG_AGO)
    with relay_role(connection) as url:
        maintain(url)
    row = connection.execute("select relay, fault from outbox.maintenance").fetchone()
    assert (row, seconds(connection) < 60) == (("relay-1", None), True)
    assert found(database_url).level == "ok"


def test_idle_rounds_write_no_more_than_one_note_in_two_minutes(
    connection: Connection, database_url: str
) -> None:
    maintain(database_url)
    noted = connection.execute("select xmin, ctid from outbox.maintenance").fetchone()
    for _ in range(3):
        maintain(database_url)
    assert connection.execute("select xmin, ctid from outbox.maintenance").fetchone() == noted


def test_ten_minutes_without_maintenance_are_an_alarm(
    connection: Connection, database_url: str, free_port: Callable[[], int]
) -> None:
    connection.execute(LONG_AGO)
    finding = found(database_url)
    assert (finding.level, "has not run for 11m" in finding.text) == ("warning", True)
    environment = {"DATABASE_URL": database_url}
    told = outbox_relay("status", environment=environment).stdout
    assert "MAINTENANCE HAS NOT RUN FOR 11m" in told
    told = outbox_relay("status", "--json", environment=environment).stdout
    assert json.loads(told)["maintenance"]["age_seconds"] > 600
    assert gauge(database_url, free_port()) > 600
    maintain(database_url)
    assert gauge(database_url, free_port()) < 600
    assert "maintenance ran" in outbox_relay("status", environment=environment).stdout


def gauge(database_url: str, port: int) -> float:
    telemetry = Telemetry()
    server = status_server.start(settings(database_url, RELAY_PORT=str(port)), telemetry)
    assert server is not None
    try:
        text = generate_latest(telemetry.registry).decode()
    finally:
        server.close()
    line = re.search(r"^outbox_relay_maintenance_age_seconds (\S+)$", text, re.MULTILINE)
    assert line is not None, text
    return float(line[1])


def test_a_lock_that_is_never_given_back_is_told_with_its_session(
    connection: Connection, database_url: str
) -> None:
    connection.execute(LONG_AGO)
    with psycopg.connect(database_url) as stuck:
        stuck.execute("lock table outbox.maintenance in exclusive mode")
        maintain(database_url)
        finding = found(database_url)
        assert f"pg_terminate_backend({stuck.info.backend_pid})" in finding.hint
    assert seconds(connection) > 600


BREAK = """
    create or replace function outbox.trim_dead_letters(retention_days integer) returns bigint
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    as $$ begin raise exception 'the disk is full'; end $$
"""
PARTS = [
    "make_partitions(integer)",
    "partition_state(integer)",
    "trim_checkpoints(interval, integer)",
    "trim_dead_letters(integer)",
    "turn_attempts(integer)",
    "trim_idempotency(integer)",
    "tell_left_out()",
]
OLD_ANSWER = """
    with key as (
        insert into outbox.api_key (name, hash, scopes)
        values ('k', sha256('k'), '{publish}') returning id
    )
    insert into outbox.idempotent_request (api_key_id, key, fingerprint, created_at)
    select id, 'old', '', clock_timestamp() - interval '2 days' from key
"""
LEFT_OUT = """
    insert into outbox.told (subscription_id, type, since, events)
    select id, 'subscription.paused', clock_timestamp() - interval '6 minutes', 5
    from outbox.subscription
"""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_stops_no_other(
    connection: Connection, database_url: str, part: str
) -> None:
    an_old_partition(connection)
    connection.execute(OLD_ANSWER)
    old_attempts(connection)
    connection.execute(LEFT_OUT)
    connection.execute("drop table outbox.message_2")
    connection.execute(FORGET_2)
    connection.execute(sql.SQL("drop function outbox.{}").format(sql.SQL(part)))
    maintain(database_url)
    done = {
        "make_partitions(integer)": "select to_regclass('outbox.message_2') is not null",
        "partition_state(integer)": "select not exists (select from outbox.message)",
        "turn_attempts(integer)": "select to_regclass('outbox.attempt_log_0') is null",
        "trim_idempotency(integer)": "select not exists (select from outbox.idempotent_request)",
        "tell_left_out()": "select not exists (select from outbox.told)",
    }
    for name, question in done.items():
        answer = connection.execute(question.encode()).fetchone()
        assert (name, answer) == (name, (name != part,))
    noted = connection.execute("select fault from outbox.maintenance").fetchone()
    assert noted is not None
    assert noted[0].startswith(f"outbox.{part.partition('(')[0]}: ")


def test_a_server_that_takes_no_writes_ends_the_round_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(connection: Connection) -> NoReturn:
        asked.append(connection)
        raise ReadOnlyError("the server takes no writes")

    monkeypatch.setattr(retention, "transaction", refuse)
    with pytest.raises(ReadOnlyError):
        maintain(database_url)
    assert len(asked) == 1


def test_the_note_tells_which_part_failed_and_why(
    connection: Connection, database_url: str
) -> None:
    telemetry = Telemetry()
    broken = connection.execute(
        "select pg_get_functiondef('outbox.trim_dead_letters(integer)'::regprocedure)"
    ).fetchone()
    assert broken is not None
    connection.execute(LONG_AGO)
    connection.execute(BREAK)
    retention.maintain(connection, settings(database_url), telemetry)
    told = "outbox.trim_dead_letters: the disk is full"
    finding = found(database_url)
    assert (finding.level, told in finding.text) == ("warning", True)
    shown = outbox_relay("status", environment={"DATABASE_URL": database_url}).stdout
    assert told in shown
    metrics = generate_latest(telemetry.registry).decode()
    assert 'outbox_relay_faults_total{kind="maintenance",subscription=""} 1.0' in metrics
    # As long as parts fail, it has not run.
    assert seconds(connection) > 600
    connection.execute(broken[0])
    maintain(database_url)
    assert found(database_url).level == "ok"


PASS_IT = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'test'
    from outbox.checkpoint group by cursor_id
"""
FORGET = """
    begin;
    select from outbox.attempt limit 1;
    select outbox.publish('orders', 'event', '{}');
    prepare transaction 'forgotten'
"""


def test_a_prepared_transaction_that_holds_the_log_is_named(
    connection: Connection, database_url: str
) -> None:
    old_attempts(connection)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(FORGET)
    connection.execute(LONG_AGO)
    try:
        maintain(database_url)
        finding = found(database_url)
        assert "prepared transaction 'forgotten' has held" in finding.text
        assert "rollback prepared 'forgotten'" in finding.hint
    finally:
        connection.execute("rollback prepared 'forgotten'")


OVERDUE = """
    update outbox.known_partition set from_time = from_time - interval '9 days'
    where parent = 'outbox.message'
"""
FORGET_2 = "delete from outbox.known_partition where parent = 'outbox.message' and number = 2"
NEXT_IS_NEWER = """
    update outbox.known_partition
    set xid = pg_current_xact_id(), made_at = made_at - interval '2 hours'
    where parent = 'outbox.message' and from_time is null
"""


def test_a_transaction_in_another_database_that_keeps_the_log_from_turning_is_named(
    connection: Connection, database_url: str, postgres_server: PostgresServer
) -> None:
    with psycopg.connect(postgres_server.dsn(), application_name="elsewhere") as session:
        session.execute("select pg_current_xact_id()")
        connection.execute(OVERDUE)
        connection.execute(NEXT_IS_NEWER)
        maintain(database_url)
        pid = session.info.backend_pid

        def named() -> None:
            finding = found(database_url)
            assert f"session {pid} (elsewhere) in database postgres is older" in finding.text
            assert finding.hint.endswith(f"select pg_terminate_backend({pid})")

        # Others on this server may be older for a moment.
        eventually(named)


def old_attempts(connection: Connection) -> None:
    let_days_pass(connection, 8, "outbox.attempt_log")
    connection.execute("select outbox.turn_attempts()")
    let_days_pass(connection, 30, "outbox.attempt_log")


def an_old_partition(connection: Connection) -> None:
    publish(connection)
    connection.execute(PASS_IT)
    turn(connection)
    let_days_pass(connection, 9)


WORK: dict[str, Callable[[Connection], object]] = {
    "a partition of the log that may go": an_old_partition,
    "attempts that are old": old_attempts,
}


@pytest.mark.long
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_reader_that_stays_keeps_no_maintenance_from_its_work_silently(
    connection: Connection, database_url: str, work: Callable[[Connection], object]
) -> None:
    work(connection)
    connection.execute(LONG_AGO)
    with psycopg.connect(database_url, application_name="a long look") as reader:
        reader.execute("select from outbox.message limit 1")
        reader.execute("select from outbox.attempt limit 1")
        maintain(database_url)
        assert seconds(connection) > 600

        def named() -> None:
            finding = found(database_url)
            assert (finding.level, "(a long look)" in finding.text) == ("warning", True)
            assert f"pg_terminate_backend({reader.info.backend_pid})" in finding.hint

        # Others on this server may be older for a moment.
        eventually(named)
        shown = outbox_relay("status", environment={"DATABASE_URL": database_url}).stdout
        assert re.search(r"other sessions hold (message|attempt_log)_\d+", shown)
    maintain(database_url)
    assert seconds(connection) < 60
    assert found(database_url).level == "ok"
