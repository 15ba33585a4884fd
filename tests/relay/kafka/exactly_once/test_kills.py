"""Exactly once, whichever process is killed: read_committed consumers see no repeat."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from local.kafka import Kafka
from local.postgres import Postgres
from relay.kafka.exactly_once.record import decode
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.traps import (
    CHECKPOINT,
    OWNERS_CHECKPOINTS,
    TXN_OFFSET_COMMIT,
    commit_of,
    kill_at,
    kill_at_first_run,
    request,
    spied,
)
from tests.relay.wires import Wires
from tests.relay.writers import writing
from tests.servers import TEMPLATE, make_template

pytestmark = pytest.mark.long

pytest_plugins = [
    "tests.relay.stage_fixtures",
    "tests.relay.exactly_once_fixtures",
]

KILLS = 8


# Each life of a relay, a broker or a server costs seconds where the machine is busy.
@pytest.mark.timeout(300)
def test_random_kills_of_two_relays_under_load_are_never_seen(
    exactly_once: ExactlyOnceStage,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    stage = exactly_once
    random = Random(43)
    stage.create_topic("orders")
    relays = [stage.relay(RELAY_NAME="a"), stage.relay(RELAY_NAME="b")]
    with writing(stage.database_url, "orders", seed=43):
        for _ in range(KILLS):
            stage.moved_on(random.randint(1, 8))
            victim = random.choice(relays)
            victim.kill()
            victim.launch()
    stage.all_arrived_once("orders", timeout_seconds=60)
    assert stage.dead_letters() == []
    written = "".join(log.read_text() for log in tmp_path.glob("outbox-relay-*.log"))
    record_property("kills", KILLS)
    record_property("adopted", written.count("kafka_cursor_adopted"))
    assert "kafka_cursor_refused" not in written


@pytest.mark.parametrize(
    "pattern",
    [request(TXN_OFFSET_COMMIT, "doomed"), commit_of("doomed")],
    ids=["before_its_cursor_is_sent", "before_it_commits"],
)
def test_what_a_relay_had_produced_when_it_was_killed_is_seen_from_its_successor_alone(
    wires: Wires, watched: ExactlyOnceStage, pattern: re.Pattern[bytes]
) -> None:
    stage = watched
    stage.create_topic("orders")
    doomed = spied(wires, "doomed")
    stage.publish(200, "orders")
    # Its first transaction says that it is the owner, and has no message.
    kill_at(wires.kafka, pattern, doomed, passing=OWNERS_CHECKPOINTS)

    def produced() -> None:
        assert len(stage.arrivals("orders", "read_uncommitted")) == 200

    eventually(produced, 10)
    assert stage.arrivals("orders") == []
    note = stage.note()
    assert note is not None
    ((key,),) = stage.query("select note_key from outbox.installation")
    assert decode(note, key).messages == 0
    stage.relay()
    stage.all_arrived_once("orders")
    # The successor ended the open transaction, and sent its messages again in one of its own.
    assert len(stage.arrivals("orders", "read_uncommitted")) == 400


def test_a_run_that_kafka_committed_and_postgres_not_is_adopted_without_a_repeat(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    stage.publish(100, "orders")
    kill_at_first_run(wires.database, wires.relay())
    assert stage.checkpoints() == OWNERS_CHECKPOINTS
    eventually(lambda: stage.in_order("orders"))
    # The second one dies when it adopts, the third one finds nothing else to do.
    kill_at(wires.database, CHECKPOINT, wires.relay())
    assert stage.checkpoints() == OWNERS_CHECKPOINTS
    relay = stage.relay("--once")
    assert relay.wait(60) == 0
    assert "kafka_cursor_adopted" in relay.output()
    stage.all_arrived_once("orders")


def test_a_run_is_adopted_before_what_came_later_goes(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    stage.publish(100, "orders")
    kill_at_first_run(wires.database, wires.relay())
    stage.publish(100, "orders")
    assert stage.relay("--once").wait(60) == 0
    stage.all_arrived_once("orders")


def test_a_run_in_the_middle_of_a_backlog_is_adopted_without_a_repeat(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    stage.publish(60_000, "orders", groups=50)
    kill_at_first_run(wires.database, wires.relay())
    assert stage.checkpoints() == OWNERS_CHECKPOINTS
    stage.relay()
    stage.all_arrived_once("orders", timeout_seconds=60)
    assert stage.checkpoints() > 1


@pytest.fixture
def forgetful_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server whose writers don't wait for the disk: what they committed may be gone again."""
    settings = {"synchronous_commit": "off", "wal_writer_delay": "500ms"}
    with Postgres.start(tmp_path / "postgres", settings=settings) as server:
        make_template(server)
        yield server
        server.kill()


@pytest.mark.timeout(300)
def test_crashes_of_postgres_and_a_relay_at_once_are_never_seen(
    forgetful_postgres: Postgres, kafka: str, topic_prefix: str, spawn: Spawn
) -> None:
    random = Random(44)
    stage = ExactlyOnceStage(forgetful_postgres.dsn(TEMPLATE), kafka, topic_prefix, spawn)
    stage.create_topic("orders")
    relays = [stage.relay(RELAY_NAME="a"), stage.relay(RELAY_NAME="b")]
    with writing(stage.database_url, "orders", seed=44):
        for _ in range(4):
            stage.moved_on(random.randint(1, 4))
            victim = random.choice(relays)
            # No consumer may see what Postgres takes back: no uncommitted message arrives either.
            forgetful_postgres.kill()
            victim.kill()
            forgetful_postgres.launch()
            victim.launch()
        stage.moved_on(3)
    stage.all_arrived_once("orders", timeout_seconds=60)


@pytest.mark.timeout(300)
def test_a_broker_killed_and_restarted_under_load_is_never_seen(
    fragile: ExactlyOnceStage, broker: Kafka
) -> None:
    stage = fragile
    stage.create_topic("orders")
    stage.relay()
    stage.relay()
    with writing(stage.database_url, "orders", seed=45):
        stage.moved_on(5)
        broker.kill()
        broker.restart()
        stage.moved_on(5)
    stage.all_arrived_once("orders", timeout_seconds=60)
    assert stage.dead_letters() == []
