"""What an operator does to a subscription takes effect, and drops nothing."""

import time
from collections.abc import Callable

import pytest
from psycopg import errors
from standardwebhooks.webhooks import Webhook

from relay.push.requests import sending
from tests.receiver import respond
from tests.relay.push.stage import Answers, PushRelay, PushStage
from tests.sql.log import one

OpenRelay = Callable[[], PushRelay]


def test_a_pause_holds_and_a_resume_delivers_everything_in_order(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("a:1", respond(500), respond())
    stage.publish("a:1", "a:2")
    relay.round()
    stage.db.execute("update outbox.subscription set paused = true")
    stage.publish("a:3", "b:1")
    relay.drain()
    assert stage.keys() == ["a:1"]
    stage.db.execute("update outbox.subscription set paused = false")
    relay.drain()
    assert [key for key in answers.accepted if key[0] == "a"] == ["a:1", "a:2", "a:3"]
    assert "b:1" in answers.accepted


def test_each_subscription_has_its_own_progress_and_failures(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe("dead")
    stage.subscribe("alive")
    stage.receiver.paths["/dead"] = respond(503)
    stage.publish("a:1", "a:2")
    relay.round()
    relay.round()
    assert stage.keys("alive") == ["a:1", "a:2"]
    assert set(stage.keys("dead")) == {"a:1"}


def test_changed_settings_take_effect_with_the_next_run(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.publish("a:1")
    relay.drain()
    stage.settle("billing", endpoint=f"{stage.receiver.url}/moved", client_errors="dead_letter")
    stage.receiver.react = respond(400)
    stage.publish("a:2")
    relay.drain()
    assert [request.path for request in stage.receiver.requests] == ["/billing", "/moved"]
    assert len(stage.dead_letters()) == 1


def test_a_shorter_schedule_ends_what_has_used_it_up(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.receiver.react = respond(500)
    stage.publish("a:1")
    for _ in range(3):
        relay.round()
    stage.settle("billing", retry={"schedule_seconds": [0, 0], "jitter": 0})
    relay.drain()
    assert len(stage.keys()) == 3
    assert stage.dead_letters() == [("a:1", "http_500", "3 attempts", 3, False, False)]


def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(
    stage: PushStage, relay: PushRelay
) -> None:
    subscription_id = stage.subscribe()
    first = one(stage.db, "select 'whsec_' || encode(key, 'base64') from outbox.secret")
    second = one(stage.db, "select outbox.rotate_secret(%s)", subscription_id)
    stage.publish("a:1")
    relay.drain()
    stage.db.execute("update outbox.secret set expires_at = now() where expires_at is not null")
    stage.publish("a:2")
    relay.drain()
    both, alone = stage.receiver.requests
    for secret in (first, second):
        Webhook(secret).verify(both.body, both.headers)
    Webhook(second).verify(alone.body, alone.headers)
    signatures = [one.header("webhook-signature").split(" ") for one in (both, alone)]
    assert [len(each) for each in signatures] == [2, 1]


def test_only_wanted_types_come(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(types=["order.paid"])
    stage.publish("a:1")
    stage.publish("a:2", type="order.shipped")
    stage.publish("a:3")
    relay.drain()
    assert (stage.keys(), relay.probe()) == (["a:1", "a:3"], [])


def test_a_test_message_goes_to_its_subscription_alone(stage: PushStage, relay: PushRelay) -> None:
    billing = stage.subscribe("billing", types=["order.paid"])
    stage.subscribe("other")
    stage.db.execute("select outbox.send_test(%s)", [billing])
    relay.drain()
    assert stage.receiver.counts() == {"/billing": 1}
    assert stage.receiver.requests[0].header("ce-type") == "outbox.test"
    assert stage.rows() == []


@pytest.mark.parametrize("types", [None, ["outbox.test", "x"], ["order.paid"]])
@pytest.mark.parametrize("channels", [["outbox.test"], ["orders", "outbox.test"], ["orders"], None])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_test_message_comes_once_whatever_the_subscription_names(
    stage: PushStage,
    relay: PushRelay,
    types: list[str] | None,
    channels: list[str] | None,
    shards: int,
) -> None:
    billing = stage.subscribe("billing", types=types, shards=shards)
    stage.db.execute("update outbox.subscription set channels = %s", [channels])
    for _ in range(3):
        stage.db.execute("select outbox.send_test(%s)", [billing])
    relay.drain()
    keys = stage.keys()
    assert len(keys) == len(set(keys)) == 3
    assert stage.rows() == []


def test_a_test_message_waits_with_the_subscription_that_names_its_channel(
    stage: PushStage, relay: PushRelay
) -> None:
    billing = stage.subscribe("billing")
    stage.db.execute("update outbox.subscription set channels = '{outbox.test}', paused = true")
    stage.db.execute("select outbox.send_test(%s)", [billing])
    relay.drain()
    assert stage.keys() == []
    stage.db.execute("update outbox.subscription set paused = false")
    relay.drain()
    assert len(stage.keys()) == 1


def test_a_rate_limit_holds_over_all_relays(stage: PushStage, open_relay: OpenRelay) -> None:
    rate = 40
    stage.subscribe(rate_per_second=rate, shards=2)
    stage.publish(*(f"g{number}:1" for number in range(200)))
    relays = [open_relay(), open_relay()]
    ends_at = time.monotonic() + 1.5
    while time.monotonic() < ends_at:
        for relay in relays:
            relay.round()
    came = [request.at for request in stage.receiver.requests]
    # What was left over for a second may go at once, and half a second's worth at each relay.
    for seconds in (0.25, 0.5, 1.0):
        most = rate * (seconds + 1 + len(relays) / 2) + 1
        assert max(sum(at <= other < at + seconds for other in came) for at in came) <= most
    assert rate <= len(came) <= rate * 3.5


def test_a_rate_limit_that_is_lifted_lets_everything_go(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(rate_per_second=0.01)
    stage.publish(*(f"g{number}:1" for number in range(20)))
    for _ in range(3):
        relay.round()
    assert len(stage.keys()) <= 1
    stage.settle("billing", rate_per_second=1000)
    for _ in range(20):
        relay.round()
    assert len(stage.keys()) == 20


def test_a_limit_that_is_used_up_by_the_last_message_leaves_no_work(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(rate_per_second=2)
    stage.publish("a:1")
    for _ in range(2):
        relay.round()
    assert stage.keys() == ["a:1"]
    assert relay.probe() == []


FILL = """
insert into outbox.message (channel, type, idempotency_key, payload)
select 'noise', 'tick', 'noise' || n, '{}' from generate_series(1, 20000) as n
"""


def test_a_message_far_behind_those_of_other_channels_comes_with_the_first_run(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than the way through the others takes.
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.001)
    stage.subscribe()
    stage.db.execute(FILL)
    stage.publish("a:1")
    relay.round()
    assert stage.keys() == ["a:1"]


@pytest.mark.parametrize("setting", ['{"concurrency": 8.0}', '{"retry": {"max_attempts": 3.0}}'])
def test_a_setting_that_the_relay_could_not_read_is_refused(stage: PushStage, setting: str) -> None:
    stage.subscribe()
    with pytest.raises(errors.CheckViolation, match="must be a whole number"):
        stage.db.execute(
            "update outbox.subscription set settings = settings || %s::jsonb", [setting]
        )


def test_a_breaker_cools_down_for_a_second_at_least(stage: PushStage) -> None:
    stage.subscribe(breaker={"cool_down_seconds": 1})
    with pytest.raises(errors.CheckViolation, match="must be a number from 1 to 86400"):
        stage.settle("billing", breaker={"cool_down_seconds": 0.9})
