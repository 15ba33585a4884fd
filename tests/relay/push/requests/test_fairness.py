"""Retries do not starve what is fresh, nor the other way round: by counts, not by times."""

import pytest

from tests.receiver import hang, respond
from tests.relay.push.stage import Answers, PushRelay, PushStage

NO = respond(500)


@pytest.fixture
def patience() -> None:
    """None: what hangs shall outlive its run."""


@pytest.mark.parametrize("limit", [40, 8])
def test_while_many_retries_are_due_fresh_messages_go_as_well(
    stage: PushStage, relay: PushRelay, limit: int
) -> None:
    """`limit` requests a run, as a rate limit grants them."""
    stage.subscribe(concurrency=8)
    stage.receiver.react = answers = Answers()
    bad = [f"bad{number}:1" for number in range(100)]
    for key in bad:
        answers.give(key, NO)
    stage.publish(*bad)
    relay.round()
    stage.publish(*(f"good{number}:1" for number in range(20)))
    for _ in range(120 // limit):
        relay.round(limit=limit)
    assert len(answers.accepted) == 20


def test_while_a_backlog_is_worked_off_retries_go_as_well(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(concurrency=8)
    stage.receiver.react = answers = Answers()
    bad = [f"bad{number}:1" for number in range(10)]
    for key in bad:
        answers.give(key, NO)
    stage.publish(*bad)
    relay.round()
    stage.publish(*(f"good{number}:1" for number in range(200)))
    stage.receiver.requests.clear()
    relay.round(limit=40)
    came = stage.keys()
    assert (len(came), sum(key.startswith("bad") for key in came)) == (50, 10)


def test_retries_that_hang_leave_slots_for_fresh_messages(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(concurrency=8, timeout_seconds=1)
    stage.receiver.react = answers = Answers()
    bad = [f"bad{number}:1" for number in range(20)]
    for key in bad:
        answers.give(key, NO, hang)
    stage.publish(*bad)
    relay.round()
    stage.publish(*(f"good{number}:1" for number in range(30)))
    relay.round()
    relay.round()
    assert sum(key.startswith("good") for key in answers.accepted) == 30


def test_fresh_messages_that_hang_leave_slots_for_retries(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(concurrency=8, timeout_seconds=1)
    stage.receiver.react = answers = Answers()
    bad = [f"bad{number}:1" for number in range(20)]
    for key in bad:
        answers.give(key, NO, respond())
    stage.publish(*bad)
    relay.round()
    for number in range(30):
        answers.give(f"slow{number}:1", hang)
    stage.publish(*(f"slow{number}:1" for number in range(30)))
    relay.round()
    relay.round()
    assert sorted(answers.accepted) == sorted(bad)
