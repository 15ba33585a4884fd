"""A topic that can't be written to makes its channel wait alone; the others go on."""

from collections.abc import Iterator

import pytest

from local.program import Program
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.writers import writing
from tests.two_brokers import FIRST, SECOND, TwoBrokers, two_brokers

pytestmark = pytest.mark.long

DELIVERIES = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
WAITING = """
select distinct channel, split_part(waiting_reason, ':', 1) from outbox.cursor
where waiting_since is not null
"""
CHANNEL_CURSORS = "select count(*) from outbox.cursor where channel is not null"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBrokers]:
    with two_brokers(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture
def brokers(cluster: TwoBrokers) -> TwoBrokers:
    """Both are there when a test begins."""
    if not cluster.second.running:
        cluster.second.launch()
    return cluster


@pytest.fixture
def stage(
    database_url: str, brokers: TwoBrokers, topic_prefix: str, spawn: Spawn
) -> ExactlyOnceStage:
    stage = ExactlyOnceStage(database_url, brokers.bootstrap_servers, topic_prefix, spawn)
    brokers.create_topic(topic_prefix + "outbox.cursors", [FIRST])
    brokers.create_topic(topic_prefix + "orders", [FIRST], [FIRST])
    return stage


def alone(brokers: TwoBrokers, stage: ExactlyOnceStage, channel: str) -> None:
    """The channel's topic lies on the second broker too, and nowhere else in part."""
    brokers.create_topic(stage.topic_prefix + channel, [SECOND], [FIRST])


def replicated(brokers: TwoBrokers, stage: ExactlyOnceStage, channel: str) -> None:
    """The channel's topic lies on both brokers, and wants both."""
    least = {"min.insync.replicas": "2"}
    brokers.create_topic(stage.topic_prefix + channel, [FIRST, SECOND], **least)


FAULTS = {"LEADER_NOT_AVAILABLE": alone, "NOT_ENOUGH_REPLICAS": replicated}


def arrived(stage: ExactlyOnceStage, channel: str) -> int:
    """How many messages came again. Raises AssertionError until all are there, in order."""
    return stage.in_order(channel).repeats


def wait_alone(stage: ExactlyOnceStage, *channels: str, reason: str) -> None:
    assert sorted(stage.query(WAITING)) == [(channel, reason) for channel in channels]


def faults(relay: Program) -> int:
    return relay.output().count("session_failed")


@pytest.mark.parametrize(
    ("fault", "delivery"),
    [
        ("LEADER_NOT_AVAILABLE", "exactly_once"),
        ("NOT_ENOUGH_REPLICAS", "at_least_once"),
        # A relay that starts meets both at once, in either delivery: the next test.
        pytest.param("LEADER_NOT_AVAILABLE", "at_least_once", marks=pytest.mark.nightly),
        pytest.param("NOT_ENOUGH_REPLICAS", "exactly_once", marks=pytest.mark.nightly),
    ],
)
def test_a_topic_that_cannot_be_written_to_delays_no_other_and_goes_on_when_it_can(
    stage: ExactlyOnceStage, brokers: TwoBrokers, fault: str, delivery: str
) -> None:
    stage.deliver(delivery)
    FAULTS[fault](brokers, stage, "fragile")
    relay = stage.relay()
    for channel in ("fragile", "orders"):
        stage.publish(50, channel)
    stage.all_arrived("fragile", "orders")
    brokers.second.kill()
    for _ in range(3):
        for channel in ("fragile", "orders"):
            stage.publish(50, channel)
    eventually(lambda: wait_alone(stage, "fragile", reason=fault), 30)
    # By then what was sent with them and given up has come again.
    repeats = eventually(lambda: arrived(stage, "orders"), 30)
    # Now that it is known, no other channel waits at all.
    stage.publish(50, "fragile")
    stage.publish(50, "orders")
    assert eventually(lambda: arrived(stage, "orders"), 5) == repeats
    # Each of them at most once more.
    assert repeats <= 150 * (delivery == "at_least_once")
    assert stage.dead_letters() == []
    assert faults(relay) == 0
    brokers.second.launch()
    eventually(lambda: arrived(stage, "fragile"), 20)
    stage.publish(50, "fragile")
    stage.all_arrived("fragile", "orders")
    if delivery == "exactly_once":
        assert arrived(stage, "fragile") == 0

    def merged() -> None:
        assert stage.query(CHANNEL_CURSORS) == [(0,)]

    eventually(merged, 20)


@DELIVERIES
def test_a_relay_that_starts_while_a_topic_cannot_be_written_to_delays_no_other(
    stage: ExactlyOnceStage, brokers: TwoBrokers, delivery: str
) -> None:
    stage.deliver(delivery)
    alone(brokers, stage, "fragile")
    replicated(brokers, stage, "wide")
    brokers.second.kill()
    relay = stage.relay()
    for channel in ("fragile", "wide", "orders"):
        stage.publish(50, channel)
    eventually(lambda: arrived(stage, "orders"), 40)

    def both_wait() -> None:
        assert {channel for channel, _ in stage.query(WAITING)} == {"fragile", "wide"}

    eventually(both_wait, 20)
    relay.kill()
    stage.relay()
    stage.publish(50, "orders")
    eventually(lambda: arrived(stage, "orders"), 20)
    both_wait()
    brokers.second.launch()
    stage.all_arrived("fragile", "wide", "orders")
    assert stage.dead_letters() == []


@DELIVERIES
def test_nothing_is_lost_or_overtaken_when_a_broker_dies_and_comes_back_under_load(
    stage: ExactlyOnceStage, brokers: TwoBrokers, delivery: str
) -> None:
    stage.deliver(delivery)
    replicated(brokers, stage, "wide")
    stage.relay()
    with (
        writing(stage.database_url, "wide", seed=50),
        writing(stage.database_url, "orders", seed=51),
    ):
        stage.moved_on(10)
        brokers.second.kill()
        eventually(lambda: wait_alone(stage, "wide", reason="NOT_ENOUGH_REPLICAS"), 40)
        stage.moved_on(10)
        brokers.second.launch()
    reckonings = stage.all_arrived("wide", "orders", timeout_seconds=60)
    if delivery == "exactly_once":
        assert [one.repeats for one in reckonings] == [0, 0]
    assert stage.dead_letters() == []
