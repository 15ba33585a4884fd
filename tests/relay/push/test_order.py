"""Each group in its order, whatever fails and however many relays there are."""

import random

import pytest

from relay.log import reading
from relay.push.requests import sending
from tests.eventually import eventually
from tests.receiver import OK, Reaction, Received, respond
from tests.relay.push.fleet import Fleet
from tests.relay.push.stage import Answers, PushRelay, PushStage, inversions

NO = respond(500)
SEED = 18


class Flaky(Answers):
    """One of `of` requests fails, whatever it is about."""

    def __init__(self, of: int) -> None:
        super().__init__()
        self._of = of
        self._random = random.Random(SEED)

    def __call__(self, request: Received) -> Reaction:
        return NO if self._random.randrange(self._of) == 0 else super().__call__(request)


def campaign(stage: PushStage, *, groups: int, each: int, relays: int) -> tuple[Flaky, Fleet]:
    """Everything through a receiver that refuses one of twenty, by several relays at once."""
    stage.subscribe(shards=2, concurrency=16)
    stage.receiver.react = answers = Flaky(of=20)
    keys = [f"g{group}:{number}" for number in range(1, each + 1) for group in range(groups)]
    fleet = Fleet(stage.database_url, relays)

    def through() -> None:
        assert fleet.faults == []
        assert len(set(answers.accepted)) == len(keys)

    with fleet.working():
        # Half of it comes while they are at work.
        stage.publish(*keys[: len(keys) // 2])
        stage.publish(*keys[len(keys) // 2 :])
        eventually(through, timeout_seconds=60)
    return answers, fleet


def test_no_group_is_out_of_order_under_random_failures_and_three_relays(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short, so that much outlives its run.
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.05)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)
    answers, fleet = campaign(stage, groups=100, each=12, relays=3)
    assert inversions(answers.accepted) == []
    assert len(answers.accepted) == 1200
    assert len(stage.receiver.requests) > 1240
    assert (fleet.fenced, stage.dead_letters()) == (0, [])


def test_without_the_look_at_blocked_groups_the_same_campaign_finds_inversions(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("READ_RANGE", "READ_LATE"):
        statement = getattr(reading, name)
        assert "then 2 else 0" in statement
        monkeypatch.setattr(reading, name, statement.replace("then 2 else 0", "then 0 else 0"))
    answers = Answers().give("a:1", NO, OK)
    stage.subscribe()
    stage.receiver.react = answers
    with PushRelay(stage.database_url) as relay:
        stage.publish("a:1")
        relay.round()
        stage.publish("a:2", "a:3")
        # What came new is read before what is due.
        stage.db.execute("update outbox.delivery set due_at = due_at + interval '10 minutes'")
        relay.round()
        stage.let_time_pass()
        relay.drain()
    assert inversions(answers.accepted) == ["a:1"]


def test_a_group_whose_message_failed_waits_for_it(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry={"schedule_seconds": [600], "jitter": 0})
    stage.receiver.react = answers = Answers().give("a:2", NO, OK)
    stage.publish("a:1", "a:2", "a:3", "b:1")
    relay.drain()
    stage.publish("a:4", "b:2")
    relay.drain()
    assert answers.accepted == ["a:1", "b:1", "b:2"] or answers.accepted == ["b:1", "a:1", "b:2"]
    assert stage.rows() == [("a:2", 1, "retry"), ("a:3", 0, "behind"), ("a:4", 0, "behind")]
    stage.let_time_pass()
    relay.drain()
    assert answers.accepted[3:] == ["a:2", "a:3", "a:4"]


def test_a_poisoned_group_delays_no_other(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("poison:1", NO)
    healthy = [f"g{group}:{number}" for number in (1, 2) for group in range(40)]
    stage.publish("poison:1", *healthy, "poison:2")
    relay.round()
    assert sorted(answers.accepted) == sorted(healthy)
    stage.publish("g0:3")
    relay.round()
    assert answers.accepted[-1] == "g0:3"


def test_messages_without_a_group_delay_no_other(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry={"schedule_seconds": [600], "jitter": 0})
    stage.receiver.react = answers = Answers().give(":1", NO, OK)
    stage.publish(":1", ":2", "a:1")
    relay.drain()
    assert sorted(answers.accepted) == [":2", "a:1"]
    stage.let_time_pass()
    relay.drain()
    assert answers.accepted[-1] == ":1"


def test_a_late_commit_comes_too_and_its_group_keeps_its_order(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("a:1", NO, OK)
    with PushRelay(stage.database_url) as other, stage.db.transaction():
        stage.publish("a:1", "a:2")
        writer = PushStage(stage.database_url, other.connection, stage.receiver)
        writer.publish("b:1")
        relay.drain()
        assert answers.accepted == ["b:1"]
    relay.round()
    stage.publish("a:3")
    relay.drain()
    assert answers.accepted == ["b:1", "a:1", "a:2", "a:3"]
