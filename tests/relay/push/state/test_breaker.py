"""The circuit breaker: one for all relays, in the database; test_probes.py has its probes."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.push import runs
from relay.push.requests import sending
from tests.eventually import eventually
from tests.receiver import OK, after, cut, respond
from tests.relay.push.stage import LATER, NEVER_OPENS, Answers, PushRelay, PushStage
from tests.sql.log import one

NO = respond(503)
FOUR = {"minimum": 4, "threshold": 0.5, "cool_down_seconds": 600}
OpenRelay = Callable[[], PushRelay]


def numbered(count: int, group: str = "g") -> list[str]:
    """Messages of as many groups."""
    return [f"{group}{number}:1" for number in range(count)]


def answered(stage: PushStage) -> None:
    """Raises AssertionError while a request is in flight beyond its run."""
    assert "in flight" not in [state for _, _, state in stage.rows()]


def opened(stage: PushStage, relay: PushRelay, **settings: Any) -> None:
    """Four messages have failed, so that it is open; `paused:1` and `paused:2` came then."""
    stage.subscribe(**({"breaker": FOUR} | settings))
    stage.receiver.react = NO
    stage.publish(*numbered(4))
    relay.round()
    assert stage.breaker() == "open"
    stage.publish("paused:1", "paused:2")
    stage.receiver.requests.clear()


def test_it_opens_at_its_minimum_and_not_before(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(breaker=FOUR, retry=LATER)
    stage.receiver.react = NO
    stage.publish("a:1", "b:1", "c:1")
    relay.drain()
    assert stage.breaker() == "closed"
    stage.publish("d:1")
    relay.drain()
    assert stage.breaker() == "open"


def test_it_opens_at_its_threshold_and_not_below(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(breaker={"minimum": 10, "threshold": 0.7}, retry=LATER)
    stage.receiver.react = answers = Answers()
    for key in numbered(7, "bad"):
        answers.give(key, NO)
    stage.publish(*numbered(4), *numbered(6, "bad"))
    relay.drain()
    # 6 of 10, and then 7 of 11, 8 of 12, 9 of 13.
    for more in ("bad6:1", "more:1", "again:1"):
        assert (stage.breaker(), stage.events()) == ("closed", [])
        answers.give(more, NO)
        stage.publish(more)
        relay.drain()
    assert stage.breaker() == "closed"
    # 10 of 14 are more than 0.7.
    answers.give("last:1", NO)
    stage.publish("last:1")
    relay.drain()
    assert (stage.breaker(), stage.events()) == (
        "open",
        [("subscription.breaker_opened", "billing")],
    )


def test_failures_from_before_the_window_do_not_count(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(breaker=FOUR | {"window_seconds": 60}, retry=LATER)
    stage.receiver.react = NO
    stage.publish(*numbered(3))
    relay.drain()
    stage.db.execute("update outbox.checkpoint set created_at = created_at - interval '61 s'")
    stage.publish("h:1", "i:1", "j:1")
    relay.drain()
    assert stage.breaker() == "closed"


def test_while_it_is_open_nothing_is_sent_no_row_made_and_no_attempt_used(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay)
    rows = stage.rows()
    stage.let_time_pass()
    for _ in range(3):
        relay.round()
    assert stage.keys() == []
    assert stage.rows() == rows


def test_a_heads_probe_without_an_answer_makes_no_row_and_leaves_it_open(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 0.0)
    opened(stage, relay)
    rows = stage.rows()
    stage.receiver.react = cut
    stage.cool_down()
    relay.round()
    relay.round()
    assert len(stage.keys()) == 1
    assert (stage.rows(), stage.breaker()) == (rows, "open")


def test_a_fresh_messages_probe_without_an_answer_makes_its_row_and_leaves_it_open(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)
    opened(stage, relay)
    rows = stage.rows()
    stage.receiver.react = cut
    stage.cool_down()
    relay.round()
    relay.round()
    assert stage.keys() == ["paused:1"]
    assert (stage.rows(), stage.breaker()) == ([*rows, ("paused:1", 0, "retry")], "open")


def test_it_closes_though_all_heads_always_fail(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)
    opened(stage, relay)
    answers = Answers()
    for key in numbered(4):
        answers.give(key, NO)
    stage.receiver.react = answers
    stage.cool_down()
    relay.round()
    assert (answers.accepted, stage.breaker()) == (["paused:1"], "closed")


def test_of_four_relays_one_sends_one_probe(stage: PushStage, open_relay: OpenRelay) -> None:
    relays = [open_relay() for _ in range(4)]
    # Several cursors, so that not only their locks keep the relays apart.
    opened(stage, relays[0], shards=4)
    stage.publish(*numbered(20, "more"))
    stage.publish(*numbered(20, "urgent"), priority=1)
    stage.cool_down()
    start = threading.Barrier(4)

    def take_part(relay: PushRelay) -> None:
        cursors = relay.probe()
        start.wait(10)
        for cursor in cursors:
            relay.run(cursor)

    threads = [threading.Thread(target=take_part, args=[relay]) for relay in relays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(stage.keys()) == 1
    assert stage.breaker() == "open"


def test_a_restart_leaves_it_open(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    opened(stage, relay)
    restarted = open_relay()
    restarted.round()
    assert (stage.keys(), restarted.probe()) == ([], [])


def test_a_probe_that_succeeds_closes_it_and_all_comes_in_order(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay)
    stage.publish("g0:2", "g1:2", "paused:3")
    stage.receiver.react = answers = Answers()
    stage.cool_down()
    relay.round()
    assert len(stage.keys()) == 1
    assert stage.breaker() == "closed"
    stage.let_time_pass()
    relay.drain()
    groups = {key.partition(":")[0] for key in answers.accepted}
    assert groups == {"g0", "g1", "g2", "g3", "paused"}
    assert [key for key in answers.accepted if key[0] == "p"] == [f"paused:{n}" for n in (1, 2, 3)]
    assert answers.accepted.index("g0:1") < answers.accepted.index("g0:2")
    assert stage.rows() == []
    assert stage.events() == [
        ("subscription.breaker_opened", "billing"),
        ("subscription.breaker_closed", "billing"),
    ]


def test_one_that_opens_and_closes_all_the_time_is_told_and_logged_a_few_times(
    stage: PushStage, relay: PushRelay
) -> None:
    breaker = {"minimum": 1, "threshold": 0.01, "cool_down_seconds": 600}
    stage.subscribe(breaker=breaker, retry={"schedule_seconds": [0] * 100, "jitter": 0})
    with capture_logs() as lines:
        for number in range(8):
            stage.receiver.react = NO
            stage.publish(f"g{number}:1")
            relay.round()
            assert stage.breaker() == "open"
            stage.receiver.react = OK
            stage.cool_down()
            relay.round()
            assert stage.breaker() == "closed"
    told = Counter(type.removeprefix("subscription.") for type, _ in stage.events())
    assert told == {"breaker_opened": 5, "breaker_closed": 5}
    assert Counter(line["event"] for line in lines) == told


def test_what_failed_before_it_closed_does_not_open_it_again(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay, retry=LATER)
    stage.receiver.react = OK
    stage.cool_down()
    relay.round()
    stage.receiver.react = NO
    stage.publish("x:1", "y:1")
    relay.round()
    assert stage.breaker() == "closed"


def closes(stage: PushStage, relay: PushRelay, probes: int) -> None:
    """With at most so many."""
    for _ in range(probes):
        stage.cool_down()
        stage.let_time_pass()
        relay.round()
        if stage.breaker() == "closed":
            return
    raise AssertionError(f"open after {probes} probes of {stage.keys()}")


def test_it_closes_though_its_first_head_always_fails(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 0.0)
    opened(stage, relay)
    stage.receiver.react = Answers().give("g0:1", NO)
    closes(stage, relay, probes=3)


def test_it_closes_though_the_log_goes_on_with_a_message_that_always_fails(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)
    opened(stage, relay)
    stage.receiver.react = Answers().give("paused:1", NO)
    stage.publish("healthy:1")
    closes(stage, relay, probes=3)


def test_it_closes_though_the_log_goes_on_with_a_message_that_is_too_large(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)
    opened(stage, relay, retry=LATER)
    stage.settle("billing", max_payload_bytes=18)
    stage.receiver.react = OK
    stage.publish("h:1")
    closes(stage, relay, probes=6)
    assert len(stage.dead_letters()) == 2


def test_late_successes_do_not_close_it_when_the_probe_fails(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 0.0)
    opened(stage, relay)
    # As if it had been in flight when the run ended, and was acknowledged then.
    stage.db.execute(
        "update outbox.delivery set outcome = 'acked', attempts = 1 where group_key = 'g0'"
    )
    stage.cool_down()
    relay.round()
    assert len(stage.keys()) == 1
    assert stage.breaker() == "open"


@pytest.mark.parametrize("is_open", [False, True])
def test_five_days_of_nothing_but_failures_disable(
    stage: PushStage, relay: PushRelay, is_open: bool
) -> None:
    stage.subscribe(breaker=FOUR if is_open else NEVER_OPENS)
    stage.receiver.react = NO
    stage.publish(*numbered(4))
    relay.round()
    stage.db.execute("update outbox.breaker set failing_since = now() - interval '5 days 1 second'")
    stage.cool_down()
    relay.round()
    assert one(stage.db, "select paused_reason from outbox.subscription").startswith("disabled")
    assert stage.events()[-1] == ("subscription.disabled", "billing")
    assert len(stage.rows()) == 4


def test_one_success_ends_the_days_of_failures(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("a:1", NO, OK)
    stage.publish("a:1")
    relay.round()
    stage.db.execute("update outbox.breaker set failing_since = now() - interval '5 days 1 second'")
    relay.drain()
    answers.give("b:1", NO)
    stage.publish("b:1")
    relay.round()
    assert not one(stage.db, "select paused from outbox.subscription")


def test_half_open_what_has_to_wait_for_its_group_is_passed(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FRESH_PROBES", 1)
    opened(stage, relay, retry=LATER)
    stage.publish(*(f"g0:{number}" for number in range(2, 42)), "well:1")
    stage.receiver.react = OK
    stage.db.execute("delete from outbox.message where idempotency_key like 'paused%'")
    stage.cool_down()
    # The run in which it opened may have left something to be read.
    relay.drain()
    assert (stage.keys(), stage.breaker()) == (["well:1"], "closed")


def test_probes_that_failed_late_do_not_open_it_again(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(stage, relay)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)
    stage.receiver.react = after(0.03, NO)
    for _ in range(8):
        stage.cool_down()
        relay.round()
        eventually(lambda: answered(stage), 10)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 10.0)
    stage.receiver.react = OK
    stage.cool_down()
    relay.drain()
    assert stage.breaker() == "closed"
    assert [kind for kind, _ in stage.events()] == [
        "subscription.breaker_opened",
        "subscription.breaker_closed",
    ]


def test_what_was_in_flight_when_it_opened_does_not_open_it_again(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.15)
    stage.subscribe(breaker=FOUR)
    stage.receiver.react = answers = Answers()
    for key in numbered(4):
        answers.give(key, NO)
    for key in numbered(6, "slow"):
        answers.give(key, after(0.8, NO), OK)
    stage.publish(*numbered(6, "slow"), *numbered(4))
    relay.round()
    assert stage.breaker() == "open"
    eventually(lambda: answered(stage), 10)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 10.0)
    stage.receiver.react = OK
    stage.cool_down()
    relay.drain()
    assert [kind for kind, _ in stage.events()] == [
        "subscription.breaker_opened",
        "subscription.breaker_closed",
    ]
