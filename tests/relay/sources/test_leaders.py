"""A partition without a leader waits alone: two real brokers, of which one is killed."""

from collections.abc import Iterator

import pytest

from tests.conftest import Spawn
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed
from tests.two_brokers import FIRST, SECOND, TwoBrokers, two_brokers

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBrokers]:
    with two_brokers(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


def test_a_partition_without_a_leader_keeps_none_of_the_others_waiting(
    brokers: TwoBrokers, database_url: str, topic_prefix: str, spawn: Spawn
) -> None:
    inward = InwardStage(database_url, brokers.bootstrap_servers, topic_prefix, spawn)
    topic = f"{topic_prefix}orders"
    brokers.create_topic(topic, [FIRST], [SECOND])
    inward.take_in(topic)
    relay = inward.relay()
    for partition in (0, 1):
        inward.produce(topic, keyed(10, 5, 100 * partition), partition=partition)
        # Of two partitions either may come first.
        inward.all_entered(10 + 10 * partition)
    brokers.second.kill()
    inward.produce(topic, keyed(10, 5, 1000), partition=0)
    inward.all_entered(30, timeout_seconds=60)
    relay.kill()
    inward.produce(topic, keyed(10, 5, 2000), partition=0)
    # As one that never knew the other broker.
    relay.launch()
    in_order(inward.all_entered(40, timeout_seconds=60))
    brokers.second.launch()
    inward.produce(topic, keyed(10, 5, 3000), partition=1)
    inward.all_entered(50, timeout_seconds=60)
