"""A refusal is about its message: the others go on, unless the endpoint refuses everything."""

from typing import Any

import pytest

from relay.daemon.rounds import Rounds
from tests.eventually import eventually
from tests.receiver import OK, respond
from tests.relay.push.stage import AT_ONCE, LATER, Answers, PushRelay, PushStage
from tests.relay.push.state.test_late_outcomes import Held, impatient_round
from tests.sql.log import one

REFUSED = respond(400)
COOL_DOWN_SECONDS = 600
BREAKER = {"minimum": 4, "threshold": 0.5, "cool_down_seconds": COOL_DOWN_SECONDS}
# An endpoint that refuses all is sent no more than so much of this.
BACKLOG = 50

AGED = """
update outbox.breaker
set failing_since = failing_since - make_interval(secs => %(seconds)s),
    refused_since = refused_since - make_interval(secs => %(seconds)s)
"""
SILENT = """
update outbox.breaker
set failing_since = failing_since - make_interval(secs => %(seconds)s),
    refused_since = refused_since - make_interval(secs => %(seconds)s),
    refused_at = refused_at - make_interval(secs => %(seconds)s)
"""
OPEN = """
update outbox.breaker
set opened_at = clock_timestamp(), failing_since = clock_timestamp(), retry_at = clock_timestamp(),
    refused = %s
"""
OPEN_FOR = "select extract(epoch from retry_at - clock_timestamp())::float8 from outbox.breaker"
COUNTED = "select refused from outbox.breaker"
WRITTEN = """
select (select count(*) from outbox.delivery) + (select count(*) from outbox.dead_letter)
"""
TOLD = """
select convert_from(payload, 'UTF8')::json #>> '{detail,refused}' from outbox.message
where type = 'subscription.breaker_opened'
"""

both_modes = pytest.mark.parametrize("client_errors", ["retry", "dead_letter"])


def subscribed(stage: PushStage, **settings: Any) -> None:
    wanted: dict[str, Any] = {"breaker": BREAKER, "retry": LATER}
    stage.subscribe(**(wanted | settings))


def bad(count: int, name: str = "bad") -> list[str]:
    return [f"{name}{number}:1" for number in range(count)]


def refusing(*keys: str) -> Answers:
    answers = Answers()
    for key in keys:
        answers.give(key, REFUSED)
    return answers


def cooled_down(stage: PushStage) -> None:
    """Messages were refused and none acknowledged for a cool-down, up to now."""
    stage.db.execute(AGED, {"seconds": COOL_DOWN_SECONDS + 1})


def silent(stage: PushStage, seconds: float = COOL_DOWN_SECONDS + 1) -> None:
    """Nothing was sent for so long."""
    stage.db.execute(SILENT, {"seconds": seconds})


def serve(relay: PushRelay) -> None:
    """As a worker does it: for as long as a cursor goes on without a pause."""
    Rounds().serve(
        relay.probe(),
        lambda cursor, limit, _: relay.run(cursor, limit),
        relay.probe,
        lambda: False,
    )


def half_open(stage: PushStage, refused: int = 0) -> None:
    """And the log has not been read; so many were refused since the last acknowledgement."""
    stage.db.execute(OPEN, [refused])
    assert stage.breaker() == "half-open"


@pytest.mark.long
@both_modes
def test_refused_messages_beside_acknowledged_ones_never_open_it(
    stage: PushStage, relay: PushRelay, client_errors: str
) -> None:
    subscribed(stage, client_errors=client_errors)
    stage.receiver.react = answers = refusing(*bad(30))
    for batch in range(3):
        cooled_down(stage)
        stage.publish(*bad(30)[10 * batch : 10 * batch + 10], f"good{batch}:1")
        relay.drain()
        assert stage.breaker() == "closed"
    assert answers.accepted == ["good0:1", "good1:1", "good2:1"]


@both_modes
def test_refused_messages_end_no_run_before_the_others_are_sent(
    stage: PushStage, relay: PushRelay, client_errors: str
) -> None:
    subscribed(stage, client_errors=client_errors)
    stage.receiver.react = answers = refusing(*bad(40))
    stage.publish(*bad(40), "good:1")
    relay.round()
    assert answers.accepted == ["good:1"]


def test_an_acknowledgement_begins_the_count_of_refused_messages_anew(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    stage.receiver.react = refusing(*bad(3), *bad(3, "more"))
    stage.publish(*bad(3))
    relay.drain()
    assert one(stage.db, COUNTED) == 3
    stage.publish("good:1")
    relay.drain()
    assert one(stage.db, COUNTED) == 0
    stage.publish(*bad(3, "more"))
    relay.drain()
    cooled_down(stage)
    assert (one(stage.db, COUNTED), stage.breaker()) == (3, "closed")


@both_modes
def test_an_endpoint_that_refuses_all_for_a_cool_down_opens_it_and_its_backlog_stays_in_the_log(
    stage: PushStage, relay: PushRelay, client_errors: str
) -> None:
    subscribed(stage, client_errors=client_errors)
    stage.receiver.react = respond(404)
    stage.publish(*bad(10))
    relay.drain()
    assert stage.breaker() == "closed"
    cooled_down(stage)
    stage.publish("last:1")
    relay.drain()
    assert (stage.breaker(), one(stage.db, TOLD)) == ("open", "11")
    stage.publish(*bad(BACKLOG, "later"))
    relay.drain()
    assert (len(stage.keys()), one(stage.db, WRITTEN)) == (11, 11)


def test_what_is_refused_at_once_after_a_silence_does_not_open_it(
    stage: PushStage, relay: PushRelay
) -> None:
    """No message was acknowledged."""
    subscribed(stage)
    stage.receiver.react = answers = refusing(*bad(11))
    stage.publish("bad0:1")
    relay.drain()
    silent(stage)
    stage.publish(*bad(11)[1:])
    relay.drain()
    assert (one(stage.db, COUNTED), stage.breaker()) == (11, "closed")
    stage.publish("good:1")
    relay.drain()
    assert answers.accepted == ["good:1"]


def test_a_message_that_is_refused_again_counts_no_second_time(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage, retry=AT_ONCE)
    stage.receiver.react = REFUSED
    stage.publish("bad:1")
    relay.drain()
    assert len(stage.keys()) > 10
    assert (one(stage.db, COUNTED), stage.breaker()) == (1, "closed")


def test_two_refused_messages_days_apart_disable_nothing(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage, client_errors="dead_letter")
    stage.receiver.react = answers = refusing(*bad(2))
    stage.publish("bad0:1")
    relay.drain()
    silent(stage, 6 * 86_400)
    stage.publish("bad1:1")
    relay.drain()
    stage.publish("good:1")
    relay.drain()
    assert answers.accepted == ["good:1"]


def test_below_its_minimum_refused_messages_do_not_open_it(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    stage.receiver.react = REFUSED
    stage.publish(*bad(2))
    relay.drain()
    cooled_down(stage)
    stage.publish("third:1")
    relay.drain()
    assert stage.breaker() == "closed"
    stage.publish("fourth:1")
    relay.drain()
    assert stage.breaker() == "open"


@pytest.mark.parametrize("status", [408, 425, 429])
def test_a_4xx_that_may_pass_is_a_failure(stage: PushStage, relay: PushRelay, status: int) -> None:
    subscribed(stage)
    stage.receiver.react = respond(status)
    stage.publish(*bad(4))
    relay.round()
    assert (stage.breaker(), one(stage.db, COUNTED)) == ("open", 0)


def test_refused_messages_do_not_hide_failures(stage: PushStage, relay: PushRelay) -> None:
    subscribed(stage)
    stage.receiver.react = answers = refusing(*bad(40))
    for number in range(4):
        answers.give(f"down{number}:1", respond(503))
    stage.publish(*bad(40), *bad(4, "down"))
    relay.round()
    assert stage.breaker() == "open"


@pytest.mark.long
@both_modes
@pytest.mark.parametrize("count", [40, 500])
def test_behind_refused_messages_a_half_open_breaker_comes_to_a_good_one_without_a_pause(
    stage: PushStage, relay: PushRelay, client_errors: str, count: int
) -> None:
    subscribed(stage, client_errors=client_errors)
    stage.receiver.react = answers = refusing(*bad(count))
    stage.publish(*bad(count), "good:1")
    half_open(stage)
    serve(relay)
    assert (answers.accepted, stage.breaker()) == (["good:1"], "closed")
    # One probe each, and each is refused as ever.
    assert stage.keys() == [*bad(count), "good:1"]
    assert one(stage.db, WRITTEN) == count


def test_the_cursors_of_a_subscription_are_probed_behind_refused_messages_without_a_pause(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    stage.receiver.react = answers = refusing(*bad(20), *bad(20, "urgent"))
    stage.publish(*bad(20, "urgent"), priority=1)
    stage.publish(*bad(20), "good:1")
    half_open(stage)
    serve(relay)
    assert (answers.accepted, stage.breaker()) == (["good:1"], "closed")


def test_after_a_thousand_in_a_row_each_refused_probe_waits_its_cool_down(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage, client_errors="dead_letter")
    stage.receiver.react = REFUSED
    stage.publish(*bad(BACKLOG))
    half_open(stage, refused=998)
    serve(relay)
    assert (len(stage.keys()), stage.breaker()) == (2, "open")
    for probes in (3, 4, 5):
        stage.cool_down()
        serve(relay)
        assert (len(stage.keys()), len(stage.dead_letters())) == (probes, probes)
    wait = one(stage.db, OPEN_FOR)
    assert COOL_DOWN_SECONDS - 60 < wait <= COOL_DOWN_SECONDS


def test_behind_a_refused_probe_the_next_waits_for_as_long_as_the_endpoint_asks(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    stage.receiver.react = respond(400, headers={"Retry-After": "60"})
    stage.publish("bad:1", "next:1")
    half_open(stage)
    serve(relay)
    assert stage.keys() == ["bad:1"]
    assert 0 < one(stage.db, OPEN_FOR) <= 60


def late_refusals(stage: PushStage, relay: PushRelay) -> None:
    """All four of BREAKER's minimum were refused after their run."""
    held = Held()
    stage.receiver.react = held.react
    stage.publish(*bad(4))
    impatient_round(relay)
    held.release(REFUSED)

    def refused() -> None:
        assert [(number, state) for _, number, state in stage.rows()] == [(1, "retry")] * 4

    eventually(refused)


def test_what_is_refused_after_its_run_is_no_failure(stage: PushStage, relay: PushRelay) -> None:
    subscribed(stage)
    late_refusals(stage, relay)
    stage.receiver.react = OK
    stage.publish("good:1")
    relay.round()
    assert (stage.breaker(), stage.keys()[4:]) == ("closed", ["good:1"])
    assert one(stage.db, "select sum(failures) from outbox.checkpoint") == 0


def test_an_endpoint_that_refuses_all_after_its_runs_opens_it_too(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    late_refusals(stage, relay)
    stage.publish("a:1")
    stage.receiver.react = REFUSED
    relay.round()
    assert (one(stage.db, COUNTED), stage.breaker()) == (5, "closed")
    cooled_down(stage)
    stage.publish("b:1")
    relay.round()
    assert stage.breaker() == "open"


def test_resuming_begins_the_count_of_refused_messages_anew(
    stage: PushStage, relay: PushRelay
) -> None:
    subscribed(stage)
    stage.receiver.react = REFUSED
    stage.publish(*bad(3))
    relay.drain()
    stage.db.execute("update outbox.subscription set paused = true")
    stage.db.execute("update outbox.subscription set paused = false")
    assert one(stage.db, COUNTED) == 0
