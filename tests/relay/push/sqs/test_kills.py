"""Relays killed while entries fail and answers are lost: nothing lost, doubled or overtaken.

ElasticMQ keeps its messages in memory, and is left alone.
"""

import random
import threading
import time

import pytest

from local.program import Program
from tests.conftest import Spawn
from tests.fault_proxy import DROPPED, SEND
from tests.relay.push.sqs.stage import QueueStage
from tests.relay.push.stage import inversions

SEED = 18
GROUPS = 500


@pytest.mark.parametrize(
    ("each", "kills"),
    [
        pytest.param(10, 2, marks=pytest.mark.long),
        pytest.param(40, 10, marks=[pytest.mark.proof, pytest.mark.timeout(400)]),
    ],
)
def test_kills_lose_nothing_double_nothing_and_keep_each_group_in_order(
    queues: QueueStage, spawn: Spawn, each: int, kills: int
) -> None:
    chance = random.Random(SEED)
    queues.proxy.drop = lambda _: DROPPED if chance.random() < 0.05 else None
    queues.proxy.lose = lambda one: one.action == SEND and chance.random() < 0.02
    queues.connect(shards=2, timeout_seconds=10)
    keys = [f"g{group}:{number}" for number in range(1, each + 1) for group in range(GROUPS)]
    environment = {"DATABASE_URL": queues.database_url, **queues.environment}

    def start(name: str) -> Program:
        return spawn("outbox-relay", "run", environment=environment | {"RELAY_NAME": name})

    relays = {name: start(name) for name in ("a", "b")}
    publishing = threading.Thread(target=queues.stage.publish, args=keys)
    publishing.start()
    arrived: list[str] = []
    ends_at = time.monotonic() + 300
    killed = 0
    next_kill_at = time.monotonic() + 2
    while (len(set(arrived)) < len(keys) or killed < kills) and time.monotonic() < ends_at:
        arrived += [one.key for one in queues.arrived()]
        if killed < kills and time.monotonic() > next_kill_at:
            name = "ab"[killed % 2]
            relays[name].kill()
            relays[name] = start(name)
            killed += 1
            next_kill_at = time.monotonic() + 1 + 2 * chance.random()
    publishing.join()
    for relay in relays.values():
        relay.stop()
    arrived += [one.key for one in queues.arrived()]
    assert killed == kills
    assert set(arrived) == set(keys)
    assert len(arrived) == len(keys)
    assert inversions(arrived) == []
    assert queues.dead() == []
