"""However large the messages, and however many endpoints hang: the relay's memory has a bound."""

from pathlib import Path
from typing import Any

import pytest

from relay.push.requests import sending
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.receiver import hang
from tests.relay.push.stage import ALLOWED, PushRelay, PushStage

LARGE = 950_000
BUDGET = 16_777_216
INSERT = """
insert into outbox.message (channel, type, headers, payload)
select 'orders', 'large', json_build_object('of-its-own', repeat('x', %s))::text,
       convert_to(repeat('x', %s), 'UTF8')
from generate_series(1, %s)
"""


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs outlives its run."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.2)


def flood(stage: PushStage, subscriptions: int, messages: int, **given: Any) -> None:
    """One key's endpoints that never answer to large messages."""
    for number in range(subscriptions):
        stage.receiver.paths[f"/flood{number}"] = hang
        stage.subscribe(
            f"flood{number}", types=["large"], made_by="greedy", concurrency=1000, **given
        )
    stage.db.execute(INSERT, [10, LARGE, messages])


@pytest.mark.long
def test_payloads_that_wait_for_answers_have_a_budget_and_leave_others_theirs(
    stage: PushStage,
) -> None:
    flood(stage, 4, 20, timeout_seconds=60)
    for name, owner in (("own", "greedy"), ("another", "another"), ("operator", None)):
        stage.subscribe(name, types=["order.paid"], made_by=owner)
    with PushRelay(stage.database_url, RELAY_PUSH_IN_FLIGHT_BYTES=str(BUDGET)) as relay:
        for _ in range(3):
            relay.round()
        assert 4 * LARGE <= LARGE * len(stage.receiver.requests) <= BUDGET / 2
        stage.publish("g:1")
        relay.round()
        for name in ("own", "another", "operator"):
            assert stage.keys(name) == ["g:1"]


def test_headers_are_of_the_budget_as_payloads_are(stage: PushStage) -> None:
    flood(stage, 1, 0, timeout_seconds=60)
    stage.db.execute(INSERT, [16_000, 10, 700])
    with PushRelay(stage.database_url, RELAY_PUSH_IN_FLIGHT_BYTES=str(BUDGET)) as relay:
        for _ in range(4):
            relay.round()
        assert 100 < len(stage.receiver.requests) <= BUDGET / 2 / 16_000


@pytest.mark.long
def test_a_payload_whose_request_has_timed_out_is_held_no_more(stage: PushStage) -> None:
    flood(stage, 1, 20, timeout_seconds=1, retry={"schedule_seconds": [600]})
    with PushRelay(stage.database_url, RELAY_PUSH_IN_FLIGHT_BYTES=str(BUDGET)) as relay:

        def all_were_sent() -> None:
            relay.round()
            assert len(stage.receiver.requests) == 20

        eventually(all_were_sent, 30)


@pytest.mark.long
def test_the_memory_of_a_relay_is_bounded_while_endpoints_hang(
    stage: PushStage, spawn: Spawn
) -> None:
    """It was 400 MB and more, and grew with each time-out."""
    flood(stage, 10, 20, timeout_seconds=2, retry={"schedule_seconds": [0] * 50, "jitter": 0})
    stage.db.execute("update outbox.subscription set paused = true where kind = 'kafka'")
    environment = {"RELAY_PUSH_IN_FLIGHT_BYTES": str(BUDGET), **ALLOWED}
    relay = spawn(
        "outbox-relay", "run", environment={"DATABASE_URL": stage.database_url, **environment}
    )

    def every_one_came() -> None:
        assert len(stage.receiver.requests) >= 24

    eventually(every_one_came, 60)
    status = Path(f"/proc/{relay.pid}/status").read_text()
    megabytes = int(status.split("VmHWM:")[1].split()[0]) / 1000
    assert megabytes < 250
