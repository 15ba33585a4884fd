"""Retention makes partitions and takes them away, and never one that is still needed."""

from collections.abc import Iterator

import psycopg
import pytest
from prometheus_client import generate_latest

from relay.daemon import retention
from relay.database import Connection
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from tests.relay.operating import add_dead_letter, relay_role, settings
from tests.sql.log import let_days_pass, publish, turn


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def week(database_url: str) -> Settings:
    return settings(database_url, RELAY_RETENTION_DAYS="7")


PARTITIONS = """
    select inhrelid::regclass::text from pg_inherits
    where inhparent = 'outbox.message'::regclass order by 1
"""
OLD = "message_0"


def partitions(connection: Connection) -> list[str]:
    found = connection.execute(PARTITIONS).fetchall()
    return [name.removeprefix("outbox.") for (name,) in found]


def write(connection: Connection, *, days_ago: int) -> None:
    """A message in a partition that was left so many days ago."""
    publish(connection)
    turn(connection)
    let_days_pass(connection, days_ago)


ADVANCE = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'test'
    from outbox.checkpoint group by cursor_id
"""


def test_partitions_are_made_ahead_and_turned_to(connection: Connection, week: Settings) -> None:
    let_days_pass(connection, 2)
    retention.maintain(connection, week, Telemetry())
    publish(connection)
    assert partitions(connection) == [f"message_{number}" for number in range(3)]
    where = connection.execute("select tableoid::regclass::text from outbox.message").fetchall()
    assert where == [("outbox.message_1",)]


@pytest.mark.long
def test_a_long_retention_turns_less_often(connection: Connection, database_url: str) -> None:
    years = settings(database_url, RELAY_RETENTION_DAYS="730")
    let_days_pass(connection, 100)
    retention.maintain(connection, years, Telemetry())
    assert len(partitions(connection)) == 2


def test_a_partition_that_everybody_passed_goes(connection: Connection, week: Settings) -> None:
    write(connection, days_ago=8)
    connection.execute(ADVANCE)
    # Truncated in the first round, dropped in the second.
    retention.maintain(connection, week, Telemetry())
    retention.maintain(connection, week, Telemetry())
    assert OLD not in partitions(connection)


def test_the_rights_of_a_relay_suffice(connection: Connection) -> None:
    write(connection, days_ago=8)
    connection.execute(ADVANCE)
    with relay_role(connection) as url, psycopg.connect(url, autocommit=True) as relay:
        retention.maintain(relay, settings(url), Telemetry())
        retention.maintain(relay, settings(url), Telemetry())
    assert OLD not in partitions(connection)


ATTEMPT = """
    insert into outbox.attempt_log
        (subscription_id, message_id, idempotency_key, number, duration_seconds, relay)
    values (1, 1, 'k', %s, 0.1, 'test')
"""


def test_old_attempts_and_answers_go(connection: Connection, week: Settings) -> None:
    for number in (1, 2, 3):
        connection.execute(ATTEMPT, (number,))
        let_days_pass(connection, 15, "outbox.attempt_log")
        connection.execute("select outbox.turn_attempts()")
    connection.execute(
        "with key as (insert into outbox.api_key (name, hash, scopes)"
        " values ('k', sha256('k'), '{publish}') returning id)"
        " insert into outbox.idempotent_request (api_key_id, key, fingerprint, created_at)"
        " select id, hours::text, '', clock_timestamp() - hours * interval '1 hour'"
        " from key, unnest(array[23, 25]) as hours"
    )
    retention.maintain(connection, week, Telemetry())
    # The first ended 30 days ago, those after it 15 and none.
    assert connection.execute("select number from outbox.attempt").fetchall() == [(2,), (3,)]
    assert connection.execute("select key from outbox.idempotent_request").fetchall() == [("23",)]


def test_a_partition_that_is_needed_stays_and_is_told(
    connection: Connection, week: Settings
) -> None:
    write(connection, days_ago=8)
    telemetry = Telemetry()
    retention.maintain(connection, week, telemetry)
    retention.maintain(connection, week, telemetry)
    held = connection.execute("select count(*) from outbox.message").fetchone()
    assert (OLD in partitions(connection), held) == (True, (1,))
    metrics = generate_latest(telemetry.registry).decode()
    (line,) = [one for one in metrics.splitlines() if OLD in one]
    assert "kafka" in line


def test_the_alarm_ends_when_the_partition_is_passed(
    connection: Connection, week: Settings
) -> None:
    write(connection, days_ago=8)
    telemetry = Telemetry()
    retention.maintain(connection, week, telemetry)
    connection.execute(ADVANCE)
    retention.maintain(connection, week, telemetry)
    assert OLD not in generate_latest(telemetry.registry).decode()


def test_a_partition_within_retention_stays(connection: Connection, week: Settings) -> None:
    write(connection, days_ago=6)
    connection.execute(ADVANCE)
    retention.maintain(connection, week, Telemetry())
    retention.maintain(connection, week, Telemetry())
    assert OLD in partitions(connection)


def test_of_many_relays_one_does_it_and_the_others_go_on(
    connection: Connection, database_url: str, week: Settings
) -> None:
    write(connection, days_ago=8)
    connection.execute(ADVANCE)
    with psycopg.connect(database_url) as rival:
        rival.execute("select outbox.hold_maintenance()")
        retention.maintain(connection, week, Telemetry())
        retention.maintain(connection, week, Telemetry())
        assert OLD in partitions(connection)


OLD_CHECKPOINTS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay, created_at)
    select 1, n, pg_current_snapshot(), 'test', clock_timestamp()
    from generate_series(1, 300) as n
"""
TWO_HOURS_AGO = "update outbox.checkpoint set created_at = created_at - interval '2 hours'"


def test_old_checkpoints_go_and_the_latest_stays(connection: Connection, week: Settings) -> None:
    connection.execute(OLD_CHECKPOINTS)
    connection.execute(TWO_HOURS_AGO)
    retention.maintain(connection, week, Telemetry())
    kept = connection.execute(
        "select count(*) < 300, max(n) from outbox.checkpoint where cursor_id = 1"
    ).fetchone()
    assert kept == (True, 300)


def test_only_dead_letters_that_were_delivered_are_forgotten(
    connection: Connection, week: Settings
) -> None:
    delivered, dead = add_dead_letter(connection, 1), add_dead_letter(connection, 2)
    connection.execute(
        "update outbox.dead_letter set redriven_at = died_at, delivered_at = died_at where id = %s",
        (delivered,),
    )
    connection.execute(
        "update outbox.dead_letter set died_at = died_at - interval '30 days',"
        " delivered_at = delivered_at - interval '30 days'"
    )
    retention.maintain(connection, week, Telemetry())
    assert connection.execute("select id from outbox.dead_letter").fetchall() == [(dead,)]
