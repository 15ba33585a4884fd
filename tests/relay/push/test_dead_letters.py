"""What is given up keeps its message, its reason and its order."""

import pytest

from tests.receiver import OK, respond
from tests.relay.push.stage import Answers, PushRelay, PushStage

NO = respond(500)
TWICE = {"schedule_seconds": [0], "jitter": 0}


def redrive(stage: PushStage) -> int:
    ids = stage.dead_letter_ids()
    ((number,),) = stage.db.execute("select outbox.redrive(%s)", [ids]).fetchall()
    return int(number)


def poisoned(stage: PushStage, relay: PushRelay, *keys: str, policy: str = "skip") -> Answers:
    """A subscription with dead letters of these keys; a:1 to a:3 and b:1 were published."""
    stage.subscribe(retry=TWICE, on_exhausted=policy)
    stage.receiver.react = answers = Answers()
    for key in keys:
        answers.give(key, NO)
    stage.publish("a:1", "a:2", "b:1", "a:3")
    relay.drain()
    for key in keys:
        answers.give(key, OK)
    return answers


def test_an_exhausted_message_is_a_dead_letter_with_its_reason_limit_and_attempts(
    stage: PushStage, relay: PushRelay
) -> None:
    poisoned(stage, relay, "a:1")
    assert stage.dead_letters() == [("a:1", "http_500", "2 attempts", 2, False, False)]


def test_by_skip_the_group_goes_on_without_the_message(stage: PushStage, relay: PushRelay) -> None:
    answers = poisoned(stage, relay, "a:2")
    assert [key for key in answers.accepted if key[0] == "a"] == ["a:1", "a:3"]
    assert stage.rows() == []


def test_by_park_the_group_waits_and_others_do_not(stage: PushStage, relay: PushRelay) -> None:
    answers = poisoned(stage, relay, "a:2", policy="park")
    assert sorted(answers.accepted) == ["a:1", "b:1"]
    assert stage.rows() == [("a:2", 2, "parked"), ("a:3", 0, "behind")]


def test_a_parked_message_that_is_redriven_goes_before_what_waits_for_it(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = poisoned(stage, relay, "a:2", policy="park")
    stage.publish("a:4")
    relay.drain()
    assert redrive(stage) == 1
    relay.drain()
    assert [key for key in answers.accepted if key[0] == "a"] == ["a:1", "a:2", "a:3", "a:4"]
    assert (stage.rows(), stage.dead_letters()[0][4:]) == ([], (True, True))


def test_redriven_dead_letters_of_a_group_go_in_their_order_with_their_keys(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = poisoned(stage, relay, "a:1", "a:2", "a:3")
    assert answers.accepted == ["b:1"]
    bodies = {request.header("webhook-id"): request.body for request in stage.receiver.requests}
    stage.receiver.requests.clear()
    assert redrive(stage) == 3
    relay.drain()
    assert answers.accepted == ["b:1", "a:1", "a:2", "a:3"]
    assert [dead_letter[3:] for dead_letter in stage.dead_letters()] == [(3, True, True)] * 3
    assert all(one.body == bodies[one.header("webhook-id")] for one in stage.receiver.requests)


@pytest.mark.parametrize("policy", ["skip", "park"])
def test_a_second_redrive_adds_nothing(stage: PushStage, relay: PushRelay, policy: str) -> None:
    answers = poisoned(stage, relay, "a:1", policy=policy)
    assert (redrive(stage), redrive(stage)) == (1, 0)
    relay.drain()
    assert redrive(stage) == 0
    relay.drain()
    assert answers.accepted.count("a:1") == 1


@pytest.mark.parametrize("policy", ["skip", "park"])
def test_a_dead_letter_that_dies_again_can_be_redriven_again(
    stage: PushStage, relay: PushRelay, policy: str
) -> None:
    answers = poisoned(stage, relay, "a:1", policy=policy).give("a:1", NO)
    redrive(stage)
    relay.drain()
    assert stage.dead_letters() == [("a:1", "http_500", "2 attempts", 4, False, False)]
    answers.give("a:1", OK)
    assert redrive(stage) == 1
    relay.drain()
    assert answers.accepted.count("a:1") == 1
    assert stage.dead_letters()[0][4:] == (True, True)


def test_a_redriven_dead_letter_that_fails_again_beside_the_head_of_its_group_uses_its_attempts_up(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = poisoned(stage, relay, "a:1").give("a:1", NO).give("a:4", NO, NO, OK)
    stage.settle("billing", retry={"schedule_seconds": [0] * 9, "jitter": 0})
    stage.publish("a:4", "a:5")
    relay.round()
    assert stage.rows() == [("a:4", 1, "retry"), ("a:5", 0, "behind")]
    redrive(stage)
    relay.drain()
    assert answers.accepted[-2:] == ["a:4", "a:5"]
    assert stage.dead_letters() == [("a:1", "http_500", "10 attempts", 12, False, False)]


def test_a_message_over_the_endpoints_limit_is_a_dead_letter_and_is_never_sent(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(max_payload_bytes=20)
    stage.publish("a:1", "a:" + "2" * 30, "a:3")
    relay.drain()
    assert stage.keys() == ["a:1", "a:3"]
    assert stage.dead_letters()[0][1:4] == ("payload_too_large", None, 0)
