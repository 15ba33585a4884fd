"""The doctor of a sound installation finds nothing wrong; a fault makes its command fail."""

import pytest

from relay import migrations
from relay.database import Connection
from relay.doctor import examination
from relay.doctor import kafka as kafka_findings
from tests.conftest import CreateTopic
from tests.relay.doctor.examining import findings
from tests.relay.operating import outbox_relay, publish


def test_nothing_is_wrong_with_a_sound_installation(
    relay_url: str,
    connection: Connection,
    kafka: str,
    topic_prefix: str,
    create_topic: CreateTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    create_topic("orders")
    publish(connection, "orders")
    # The template of this database may be older than maintenance may be.
    connection.execute("select outbox.note_maintenance('', null)")
    # A cloned database lets everybody connect again.
    assert migrations.grant_roles(connection)
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "RELAY_TOPIC_PREFIX": topic_prefix}
    wrong = [one for one in findings(relay_url, **environment) if one.level != "ok"]
    assert wrong == []


SLOW_STATE = """
    create or replace function outbox.partition_state(retention_days integer default 7)
    returns table (partition text, from_time timestamptz, upto_time timestamptz,
                   estimated_rows bigint, bytes bigint, past_retention boolean, needed_by text)
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    as $$
        select null::text, null::timestamptz, null::timestamptz, null::bigint, null::bigint, false,
               null::text
        from pg_sleep(60)
    $$
"""


def test_what_takes_too_long_to_look_at_is_named_and_the_rest_is_looked_at(
    relay_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = [one.what for one in findings(relay_url)]
    monkeypatch.setattr(
        examination, "TIMEOUT", "select set_config('statement_timeout', '1s', true)"
    )
    connection.execute(SLOW_STATE)
    seen = findings(relay_url)
    assert [one.what for one in seen] == usual
    (partitions,) = [one for one in seen if one.what == "partitions"]
    assert partitions.level == "warning"
    assert "looking at partitions took too long" in partitions.text
    assert "outbox.horizon" in partitions.hint


def test_a_fault_makes_the_command_fail_and_tells_the_mend(database_url: str) -> None:
    examined = outbox_relay("doctor", environment={"DATABASE_URL": database_url})
    assert examined.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS is not set\n" in examined.stdout
    assert "→ write host:port,host:port" in examined.stdout


# What upgraded databases still have: before PostgreSQL 15 it was so by default.
