"""Relays and server killed while requests fail and answers are lost: nothing lost or overtaken."""

import random
import threading
import time
from pathlib import Path

import pytest

from local.program import Program
from local.pubsub import PubSub
from tests.conftest import Spawn
from tests.relay.push.pubsub.stage import TopicStage
from tests.relay.push.stage import PushStage, inversions

SEED = 18
GROUPS = 500
FAULTS = {"fail_share": 0.05, "lose_share": 0.02, "seed": SEED}


@pytest.mark.long
@pytest.mark.parametrize(
    ("each", "kills"),
    [
        (4, 2),
        pytest.param(40, 12, marks=[pytest.mark.proof, pytest.mark.timeout(400)]),
    ],
)
def test_kills_lose_nothing_and_keep_each_group_in_order(
    stage: PushStage, spawn: Spawn, tmp_path: Path, each: int, kills: int
) -> None:
    with PubSub.start(tmp_path) as server:
        topics = TopicStage(stage, server)
        server.plan(**FAULTS)
        topics.connect(shards=2, timeout_seconds=5, retry={"schedule_seconds": [0.2] * 100})
        keys = [f"g{group}:{number}" for number in range(1, each + 1) for group in range(GROUPS)]
        environment = {"DATABASE_URL": topics.database_url, **topics.environment}

        def start(name: str) -> Program:
            return spawn("outbox-relay", "run", environment=environment | {"RELAY_NAME": name})

        relays = {name: start(name) for name in ("a", "b")}
        publishing = threading.Thread(target=topics.stage.publish, args=keys)
        publishing.start()
        chance = random.Random(SEED)
        arrived: list[str] = []
        killed = 0
        ends_at = time.monotonic() + 300
        next_kill_at = time.monotonic() + 2
        while (len(set(arrived)) < len(keys) or killed < kills) and time.monotonic() < ends_at:
            arrived += topics.keys()
            if killed < kills and time.monotonic() > next_kill_at:
                name = "ab"[killed % 2]
                relays[name].kill()
                relays[name] = start(name)
                if killed % 2:
                    server.kill()
                    server.launch()
                    server.plan(**FAULTS)
                killed += 1
                next_kill_at = time.monotonic() + 1 + 2 * chance.random()
        publishing.join()
        for relay in relays.values():
            relay.stop()
        arrived += topics.keys()
    assert killed == kills
    assert set(arrived) == set(keys)
    assert inversions(arrived) == []
    assert topics.dead() == []
    print(f"{len(keys)} messages, {len(arrived) - len(keys)} of them repeated")
