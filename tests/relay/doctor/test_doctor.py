"""The doctor finds what would keep a relay from its work, and names the hint."""

import threading
import uuid
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from confluent_kafka import KafkaError
from psycopg import sql

from relay import migrations
from relay.database import Connection
from relay.doctor import endpoints, examination, log, roles
from relay.doctor import kafka as kafka_findings
from relay.doctor.finding import Finding
from relay.kafka.exactly_once.transactions import CURSORS
from relay.keyring import Keyring
from relay.operate import subscription
from tests.conftest import CreateTopic, PostgresServer
from tests.mock_cluster import MockCluster
from tests.relay.operating import (
    OTHER_KEY,
    SECRET_KEY,
    add_dead_letter,
    outbox_relay,
    publish,
    relay_role,
    settings,
)
from tests.relay.plans import explain

# https://kafka.apache.org/protocol#protocol_api_keys
INIT_PRODUCER_ID = 22
NO_BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def relay_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection) as url:
        yield url


def findings(database_url: str, **environment: str) -> list[Finding]:
    return list(examination.examine(settings(database_url, **{**NO_BROKER, **environment})))


def found(database_url: str, what: str) -> Finding:
    (finding,) = [one for one in findings(database_url) if one.what == what]
    return finding


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


def test_a_topic_that_is_not_there_is_named(
    database_url: str,
    connection: Connection,
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    publish(connection, "orders")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "RELAY_TOPIC_PREFIX": topic_prefix}
    (topic,) = [one for one in findings(database_url, **environment) if one.what == "topics"]
    assert (topic.level, f"{topic_prefix}orders" in topic.text) == ("warning", True)


EXACTLY_ONCE = "update outbox.subscription set delivery = 'exactly_once'"


def test_transactions_are_tried_where_a_subscription_is_exactly_once(
    database_url: str,
    connection: Connection,
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    # Cloned databases share their id, and two doctors at once would fence each other.
    connection.execute("update outbox.installation set id = gen_random_uuid()")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "RELAY_TOPIC_PREFIX": topic_prefix}
    assert "transactions" not in [one.what for one in findings(database_url, **environment)]
    connection.execute(EXACTLY_ONCE)
    (tried,) = [one for one in findings(database_url, **environment) if one.what == "transactions"]
    assert tried.level == "ok", tried


def test_transactions_that_are_refused_are_a_fault_with_its_mend(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 5.0)
    connection.execute(EXACTLY_ONCE)
    with MockCluster() as cluster:
        cluster.create_topic(CURSORS, partitions=1)
        cluster.fail_requests(INIT_PRODUCER_ID, [KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED])
        environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_servers}
        (tried,) = [
            one for one in findings(database_url, **environment) if one.what == "transactions"
        ]
    assert tried.level == "fault"
    assert "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in tried.text
    assert "transactional ids" in tried.hint


def test_a_broker_that_does_not_answer_is_a_fault(database_url: str) -> None:
    assert found(database_url, "Kafka").level == "fault"


def test_a_database_that_does_not_answer_is_a_fault_without_its_password() -> None:
    finding = found("postgresql://relay:hunter2@127.0.0.1:1/shop", "database")
    assert finding.level == "fault"
    assert "127.0.0.1:1/shop" in finding.text
    assert "hunter2" not in finding.text


def test_a_database_that_is_not_migrated_is_a_fault(postgres_server: PostgresServer) -> None:
    with postgres_server.clone("template0") as empty_url:
        faults = [one for one in findings(empty_url) if one.level == "fault"]
    assert [(one.what, one.hint) for one in faults if one.what != "Kafka"] == [
        ("migrations", "run `outbox-relay migrate`")
    ]


def test_a_right_that_is_missing_is_named(relay_url: str, connection: Connection) -> None:
    connection.execute("revoke insert on outbox.checkpoint from outbox_relay")
    finding = found(relay_url, "rights")
    assert finding.level == "fault"
    assert "outbox.checkpoint: INSERT" in finding.text


def test_a_database_that_every_login_may_connect_to_is_a_warning(
    database_url: str, connection: Connection
) -> None:
    finding = found(database_url, "connections")
    assert (finding.level, "roles.sql" in finding.hint) == ("warning", True)
    assert migrations.grant_roles(connection)
    assert found(database_url, "connections").level == "ok"


def test_where_else_in_the_cluster_the_roles_come_in_is_told(
    database_url: str,
    connection: Connection,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roles, "MAX_NAMED", 10_000)
    assert migrations.grant_roles(connection)
    with postgres_server.clone() as url:
        name = url.rpartition("/")[2]
        remark = found(database_url, "roles")
        assert (remark.level, name in remark.text) == ("ok", True)
        assert connection.info.dbname not in remark.text
        connection.execute(
            sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name))
        )
        told = [one.text for one in findings(database_url) if one.what == "roles"]
        assert name not in "".join(told)


def test_a_superuser_is_more_than_a_relay_needs(database_url: str) -> None:
    assert found(database_url, "rights").level == "warning"


def test_a_database_of_another_cluster_is_a_fault(
    database_url: str, connection: Connection
) -> None:
    connection.execute("update outbox.installation set system_identifier = 1")
    finding = found(database_url, "cluster")
    assert finding.level == "fault"
    assert "outbox-relay rebase" in finding.text


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


MANY_MESSAGES = """
    insert into outbox.message (channel, type, payload)
    select 'orders', 'event', '{}' from generate_series(1, 10000)
"""
MORE_SUBSCRIPTIONS = (
    "insert into outbox.subscription (name) select 'more-' || n from generate_series(1, 20) as n"
)


def test_the_channels_of_the_latest_messages_are_read_once_for_all_subscriptions(
    connection: Connection, database_url: str
) -> None:
    connection.execute(MORE_SUBSCRIPTIONS)
    with psycopg.connect(database_url) as writer:
        writer.execute(MANY_MESSAGES)
        plan = explain(connection, kafka_findings.TOPICS, {"prefix": ""})
    assert plan.entries < 2 * 10_000


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


def subscribe(connection: Connection, endpoint: str) -> None:
    subscription.add(connection, "billing", channels=["orders"], endpoint=endpoint, settings={})


@pytest.mark.parametrize(
    ("endpoint", "allowed", "told"),
    [
        ("https://127.0.0.1/in", "", "127.0.0.1 is not public"),
        ("https://localhost:8443/in", "", "is not public"),
        ("https://[::1]/in", "", "::1 is not public"),
        ("https://nobody.invalid/in", "", "nobody.invalid does not resolve"),
        ("http://1.1.1.1/in", "", "every host on the way can read it"),
        ("http://127.0.0.1:8080/in", "127.0.0.0/8", None),
        ("https://1.1.1.1/in", "", None),
    ],
)
def test_where_an_endpoint_leads_is_told(endpoint: str, allowed: str, told: str | None) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    found = [endpoints.Endpoint("billing", endpoint)]
    (finding,) = endpoints.look_up(found, settings(url, RELAY_ALLOW_NETWORKS=allowed))
    assert finding.level == ("ok" if told is None else "warning")
    assert (told or "") in finding.text


def test_a_name_whose_look_up_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        answered.wait(10)
        return []

    monkeypatch.setattr(endpoints, "LOOK_UP_SECONDS", 0.01)
    monkeypatch.setattr("socket.getaddrinfo", hang)
    found = [endpoints.Endpoint("billing", "https://slow.example.com/")]
    (finding,) = endpoints.look_up(found, settings("postgresql://nobody@127.0.0.1:1/none"))
    answered.set()
    assert "did not resolve in time" in finding.text


def test_endpoints_that_fail_or_hold_groups_up_are_warnings(
    relay_url: str, connection: Connection
) -> None:
    subscribe(connection, "https://1.1.1.1/in")
    connection.execute(
        "update outbox.breaker set failing_since = clock_timestamp() - interval '2 hours'"
    )
    connection.execute(
        "insert into outbox.delivery (cursor_id, message_id, group_key, due_at)"
        " select min(id), 1, 'g', 'infinity' from outbox.cursor where subscription_id <> 1"
    )
    by_what = {one.what: one for one in findings(relay_url)}
    assert by_what["endpoints"].level == "ok"
    assert (by_what["breaker"].level, "2h 0m" in by_what["breaker"].text) == ("warning", True)
    assert (by_what["parked"].level, "1 groups of billing" in by_what["parked"].text) == (
        "warning",
        True,
    )


@pytest.mark.parametrize(
    ("doctors_keys", "level", "told"),
    [
        ("", "fault", "nothing is sent to billing"),
        (OTHER_KEY, "fault", "nothing is sent to billing"),
        (SECRET_KEY, "ok", "1, sealed with the newest key"),
        (f"{OTHER_KEY},{SECRET_KEY}", "warning", "1 by an older key"),
    ],
)
def test_a_secret_that_does_not_open_or_is_sealed_by_an_older_key_is_told(
    relay_url: str, connection: Connection, doctors_keys: str, level: str, told: str
) -> None:
    sealing = Keyring([SECRET_KEY])
    subscription.add(
        connection, "billing", channels=["o"], endpoint="https://a/", settings={}, keyring=sealing
    )
    (finding,) = [
        one for one in findings(relay_url, OUTBOX_SECRET_KEY=doctors_keys) if one.what == "secrets"
    ]
    assert (finding.level, told in finding.text) == (level, True), finding
    assert SECRET_KEY not in str(finding)


def test_secrets_that_are_not_sealed_are_told(relay_url: str, connection: Connection) -> None:
    subscribe(connection, "https://1.1.1.1/in")
    assert "can sign" in found(relay_url, "secrets").text
    (finding,) = [
        one for one in findings(relay_url, OUTBOX_SECRET_KEY=SECRET_KEY) if one.what == "secrets"
    ]
    assert (finding.level, "1 are not sealed" in finding.text) == ("warning", True)


def test_a_broker_is_not_missed_where_no_subscription_needs_one(
    database_url: str, connection: Connection
) -> None:
    connection.execute("update outbox.subscription set paused = true")
    (kafka,) = [one for one in examination.examine(settings(database_url)) if one.what == "Kafka"]
    assert (kafka.level, "no subscription needs it" in kafka.text) == ("ok", True)


def test_a_fault_makes_the_command_fail_and_tells_the_mend(database_url: str) -> None:
    examined = outbox_relay("doctor", environment={"DATABASE_URL": database_url})
    assert examined.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS is not set\n" in examined.stdout
    assert "→ write host:port,host:port" in examined.stdout


# What upgraded databases still have: before PostgreSQL 15 it was so by default.
OPEN = sql.SQL("create schema if not exists {0}; grant create on schema {0} to public")


def open_schema(connection: Connection, name: str) -> None:
    connection.execute(OPEN.format(sql.Identifier(name)))


def test_a_schema_where_anybody_may_create_and_a_path_leads_is_named_with_its_mend(
    connection: Connection, relay_url: str
) -> None:
    assert found(relay_url, "schemas").level == "ok"
    open_schema(connection, "public")
    finding = found(relay_url, "schemas")
    assert finding.level == "warning"
    assert "public" in finding.text
    connection.execute(finding.hint.encode())
    assert found(relay_url, "schemas").level == "ok"


def test_so_is_one_that_a_role_s_or_the_database_s_path_names(
    connection: Connection, relay_url: str
) -> None:
    role = psycopg.conninfo.conninfo_to_dict(relay_url)["user"]
    names = ["on a role's path", "on the database's", f"{role}", "on no path"]
    for name in names:
        open_schema(connection, name)
    paths = [("role", f"{role}", names[0]), ("database", connection.info.dbname, names[1])]
    for kind, of, path in paths:
        connection.execute(
            sql.SQL("alter {} {} set search_path = {}, pg_catalog").format(
                sql.SQL(kind), sql.Identifier(of), sql.Identifier(path)
            )
        )
    told = [one.text for one in findings(relay_url) if one.what == "schemas"]
    assert len(told) == 3
    for name in names[:3]:
        assert any(name in text for text in told), name
