"""What an answer means for its message."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.receiver import redirect, respond
from tests.relay.push.stage import AT_ONCE, LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

DUE_IN = "select extract(epoch from due_at - clock_timestamp())::float8 from outbox.delivery"


def test_everything_arrives_once_with_its_body_and_leaves_no_row(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "b:1", "a:2", ":1")
    relay.drain()
    assert sorted(stage.keys()) == [":1", "a:1", "a:2", "b:1"]
    assert {request.body for request in stage.receiver.requests} == {
        b'{"key" : "%b"}' % key for key in (b"a:1", b"a:2", b"b:1", b":1")
    }
    assert stage.rows() == []


def test_410_disables_and_keeps_everything(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.receiver.react = respond(410)
    stage.publish("a:1", "b:1", "a:2")
    relay.drain()
    (reason,) = stage.db.execute("select paused_reason from outbox.subscription").fetchone() or ()
    assert reason.startswith("410 Gone")
    assert stage.events() == [("subscription.disabled", "billing")]
    asked = len(stage.keys())
    relay.drain()
    assert len(stage.keys()) == asked
    stage.receiver.react = answers = Answers()
    stage.db.execute("update outbox.subscription set paused = false, paused_reason = null")
    stage.let_time_pass()
    relay.drain()
    assert sorted(answers.accepted) == ["a:1", "a:2", "b:1"]
    assert answers.accepted.index("a:1") < answers.accepted.index("a:2")
    assert one(stage.db, "select max(number) from outbox.attempt where error is null") == 1


def test_a_redirect_is_a_failure_and_is_not_followed(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = redirect(f"{stage.receiver.url}/elsewhere", 307)
    stage.publish("a:1")
    relay.drain()
    assert stage.receiver.counts() == {"/billing": 1}
    assert stage.rows() == [("a:1", 1, "retry")]


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_another_4xx_is_final_where_the_policy_says_so(
    stage: PushStage, relay: PushRelay, status: int
) -> None:
    stage.subscribe(client_errors="dead_letter")
    stage.receiver.react = Answers().give("a:1", respond(status))
    stage.publish("a:1", "a:2")
    relay.drain()
    assert stage.dead_letters() == [("a:1", f"http_{status}", None, 1, False, False)]
    assert stage.keys() == ["a:1", "a:2"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_pass_is_tried_again_whatever_the_policy(
    stage: PushStage, relay: PushRelay, status: int
) -> None:
    stage.subscribe(client_errors="dead_letter", retry=AT_ONCE)
    stage.receiver.react = answers = Answers()
    answers.give("a:1", respond(status), respond())
    stage.publish("a:1")
    relay.drain()
    assert (stage.keys(), answers.accepted, stage.dead_letters()) == (["a:1", "a:1"], ["a:1"], [])


def test_4xx_is_tried_again_by_default(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.receiver.react = Answers().give("a:1", respond(400), respond())
    stage.publish("a:1")
    relay.drain()
    assert (stage.keys(), stage.dead_letters()) == (["a:1", "a:1"], [])


def retry_after(kind: str) -> dict[str, str]:
    now = datetime.now(UTC)
    then = format_datetime(now + timedelta(seconds=100), usegmt=True)
    return {
        "seconds": {"Retry-After": "100"},
        # By the receiver's own clock, which is wrong.
        "date": {
            "Date": format_datetime(now - timedelta(hours=3), usegmt=True),
            "Retry-After": format_datetime(now - timedelta(hours=3, seconds=-100), usegmt=True),
        },
        "date without a clock": {"Retry-After": then},
    }[kind]


@pytest.mark.parametrize("kind", ["seconds", "date", "date without a clock"])
def test_retry_after_is_obeyed(stage: PushStage, relay: PushRelay, kind: str) -> None:
    stage.subscribe()
    stage.receiver.react = respond(503, headers=retry_after(kind))
    stage.publish("a:1")
    relay.drain()
    assert 90 < one(stage.db, DUE_IN) <= 100.1


def test_retry_after_shortens_no_wait(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(429, headers={"Retry-After": "1"})
    stage.publish("a:1")
    relay.drain()
    assert 590 < one(stage.db, DUE_IN) <= 600
