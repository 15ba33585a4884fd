"""A topic that hangs delays nobody else, and its messages are answered for in time."""

import time

import pytest

from local.pubsub import PROJECT
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.push.pubsub.stage import TopicStage

pytestmark = pytest.mark.long


def test_others_are_not_delayed_while_a_topic_hangs(topics: TopicStage, spawn: Spawn) -> None:
    keys = [f"g{group}:{number}" for number in range(20) for group in range(50)]
    topics.connect("good")
    topics.connect("bad", name="bad", timeout_seconds=1)
    topics.server.plan(delay_seconds=60, slow=topics.name("bad"))
    environment = {
        "DATABASE_URL": topics.database_url,
        "RELAY_ALLOW_HOSTS": f"127.0.0.1:{topics.server.port}/projects/{PROJECT}",
    }
    relay = spawn("outbox-relay", "run", environment=environment)
    topics.stage.publish("warm:1")
    arrived: list[str] = []

    def through(number: int) -> None:
        arrived.extend(topics.keys("good"))
        assert len(arrived) >= number

    eventually(lambda: through(1), timeout_seconds=20)
    began_at = time.monotonic()
    topics.stage.publish(*keys)
    eventually(lambda: through(1 + len(keys)), timeout_seconds=30)
    seconds = time.monotonic() - began_at
    timeouts = "select count(*) from outbox.attempt where error = 'DEADLINE_EXCEEDED'"
    eventually(lambda: _more_than(topics.stage.count(timeouts), 0), timeout_seconds=20)
    assert relay.stop() == 0
    assert sorted(arrived) == sorted([*keys, "warm:1"])
    assert seconds < 15


def _more_than(number: int, least: int) -> None:
    assert number > least
