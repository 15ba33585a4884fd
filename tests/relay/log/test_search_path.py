"""Relays and their commands call what they mean, whatever path their role or database brings.

Everything runs among the shadows of tests.shadows: one statement outside of the transactions that
say their path, and the test fails.
"""

import argparse
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest

from relay import cli
from relay.daemon import retention
from tests.conftest import PostgresServer, Spawn
from tests.event_types import ORDER
from tests.eventually import eventually
from tests.log_reader import read_log
from tests.pooled import WAYS, by_way
from tests.relay.conftest import OpenRelay
from tests.relay.kafka.test_dead_letters import set_limit
from tests.relay.operating import add_dead_letter, outbox_relay
from tests.relay.stage import Stage
from tests.shadows import among_shadows, shadowed, sprung
from tests.sql.log import Session, let_days_pass, one, publish, turn


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[str]:
    with shadowed(postgres_server) as url:
        yield url.rpartition("/")[2]


@pytest.fixture
def clean_url(postgres_server: PostgresServer, template: str) -> Iterator[str]:
    """Out of the shadows; nothing of them may have been called in the end."""
    with postgres_server.clone(template) as url:
        yield url
        with psycopg.connect(url) as owner:
            assert sprung(owner) is None


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """To the database."""
    return str(request.param)


@pytest.fixture
def database_url(clean_url: str, way: str) -> Iterator[str]:
    """For a login role of a relay, among the shadows."""
    with among_shadows(clean_url, "outbox_relay") as url, by_way(way, url) as url:
        yield url


@pytest.fixture
def operators_url(clean_url: str, way: str) -> Iterator[str]:
    """For a superuser, among the shadows."""
    with among_shadows(clean_url, None) as url, by_way(way, url) as url:
        yield url


@pytest.fixture
def db(clean_url: str) -> Iterator[Session]:
    with psycopg.connect(clean_url, autocommit=True) as connection:
        yield connection


class ShadowedStage(Stage):
    """Its relays are among the shadows, and what the test itself asks is not."""

    relay_url = ""

    def environment(self, **settings: str) -> dict[str, str]:
        return super().environment(DATABASE_URL=self.relay_url, **settings)

    def reckoning_is_whole(self, *channels: str) -> None:
        """Raises AssertionError until everything has arrived, dead letters in any order."""
        for channel in channels:
            written = {message.idempotency_key for message in read_log(self.database_url, channel)}
            arrived = {dict(one.headers)["idempotency-key"] for one in self.arrivals(channel)}
            assert {key.decode() for key in arrived} == written


@pytest.fixture
def stage(
    clean_url: str, database_url: str, kafka: str, topic_prefix: str, spawn: Spawn
) -> ShadowedStage:
    stage = ShadowedStage(clean_url, kafka, topic_prefix, spawn)
    stage.relay_url = database_url
    # A clone has its template's id, and under one id two databases are one to Kafka.
    stage.execute("update outbox.installation set id = gen_random_uuid()")
    return stage


@pytest.mark.long
@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.nightly)]
)
def test_a_relay_delivers_and_redrives(
    stage: ShadowedStage, db: Session, delivery: str, free_port: Callable[[], int]
) -> None:
    """With shards, a channel whose topic comes later, a dead letter and a take-over."""
    db.execute("update outbox.subscription set paused = true")
    db.execute(
        "insert into outbox.subscription (name, delivery, shards) values ('wide', %s, 3)",
        [delivery],
    )
    topic = stage.create_topic("orders", 4, **{"max.message.bytes": "20000"})
    port = str(free_port())
    relay = stage.relay(RELAY_PORT=port)
    stage.publish(300, "orders")
    stage.publish(20, "missing")
    stage.publish(1, "orders", size=30_000, group="large")
    stage.publish(300, "orders")

    def waits_and_dies() -> None:
        assert one(db, "select count(waiting_since) > 0 from outbox.cursor")
        assert one(db, "select count(*) from outbox.dead_letter") == 1

    eventually(waits_and_dies, 30)
    for path in ("readyz", "metrics"):
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            assert answer.status == 200
    stage.create_topic("missing")
    set_limit(stage, topic, 2_000_000)

    def redriven() -> None:
        # Until the broker obeys its new limit it may refuse the dead letter once more.
        db.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
        stage.reckoning_is_whole("orders", "missing")

    eventually(redriven, 60)
    relay.kill()
    stage.publish(50, "orders")
    assert stage.relay("--once").wait(60) == 0
    stage.reckoning_is_whole("orders", "missing")


@pytest.mark.long
def test_retention_takes_old_partitions(open_relay: OpenRelay, db: Session) -> None:
    publish(db)
    turn(db)
    let_days_pass(db, 30)
    relay = open_relay()
    relay.drain()
    for _ in range(3):
        retention.maintain(relay.connection, relay.settings, relay.telemetry)
    assert one(db, "select count(*) from outbox.message") == 0


COMMANDS = [
    "migrate",
    "status",
    "status --json",
    "doctor",
    "subscriptions",
    "subscriptions --json",
    "subscriptions add second --channel orders --endpoint https://203.0.113.1/ --type a --type b",
    "subscriptions test second",
    "subscriptions rotate-secret second",
    "subscriptions show second",
    "subscriptions set second --setting concurrency=2 --type c",
    "subscriptions pause kafka --reason moving",
    "subscriptions resume kafka",
    "subscriptions retry second",
    'connectors add far --channel orders --type kafka --config {"brokers":"203.0.113.1:9092"}',
    'connectors add near --direction in --channel orders --type kafka --config {"topic":"t"}',
    "connectors",
    "connectors list",
    "connectors list --json",
    "connectors pause near --reason moving",
    "connectors resume near",
    "connectors seek near --from latest",
    "connectors dead-letters near",
    "connectors redrive near --all",
    "connectors discard near --all",
    "connectors delete near",
    "dead-letters list --subscription kafka --reason r --type order.paid --since 2020-01-01T00:00Z",
    "dead-letters show 1",
    "dead-letters redrive 1",
    "dead-letters redrive --all --subscription kafka",
    "replay kafka --from 2020-01-01T00:00Z --dry-run",
    "replay kafka --from-message 1",
    "trace 1",
    "channels list",
    "channels list --json",
    "channels drop oders",
    "subscriptions delete second --discard-undelivered",
    "catalogue check EVENTS",
    "catalogue apply EVENTS",
    "catalogue export EVENTS",
    "secrets new-key",
    "secrets seal",
    "rebase",
    "rebase --from 2020-01-01T00:00Z",
]
CHANNEL_CURSOR = """
    with channel_cursor as (
        insert into outbox.cursor
            (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
        select id, 0, 3, 'oders', clock_timestamp(), 'r' from outbox.subscription
        returning id
    )
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select id, 0, pg_current_snapshot(), '' from channel_cursor
"""


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Every command of the command line."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield name
    for group in groups:
        for verb, inner in group.choices.items():
            yield from leaves(inner, f"{name} {verb}".strip())


def test_no_command_is_left_out() -> None:
    commands = set(leaves(cli.parser())) - {"run"}
    left_out = {name for name in commands if not any(one.startswith(name) for one in COMMANDS)}
    assert left_out == set()


@pytest.mark.nightly
@pytest.mark.timeout(240)
def test_an_operator_s_commands_do_their_work(
    operators_url: str, db: Session, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    definition = {"type": "order.paid", "channels": ["orders"], "schema": ORDER}
    (tmp_path / "order.json").write_text(json.dumps(definition))
    message = publish(db)
    assert message == 1
    assert add_dead_letter(db, message, reason="r") == 1
    db.execute(CHANNEL_CURSOR)
    environment = {
        "OUTBOX_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
        "DATABASE_URL": operators_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
    }
    for command in COMMANDS:
        words = command.replace("EVENTS", str(tmp_path)).split()
        ran = outbox_relay(*words, environment=environment)
        assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
        assert sprung(db) is None, command
