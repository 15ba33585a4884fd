"""While a breaker is open its probe alone is written down: the backlog stays in the log."""

from typing import Any

import pytest

from relay.push import runs
from relay.push.lease import Lease
from relay.push.requests import batch, sending
from tests.eventually import eventually
from tests.receiver import OK, Reaction, cut, hang, respond
from tests.relay.push.stage import AT_ONCE, LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

NO = respond(503)
BREAKER = {"minimum": 2, "threshold": 0.5, "cool_down_seconds": 600}
# More than a page, and less than a run takes.
BACKLOG = 300
HOT = [f"hot:{number}" for number in range(2, BACKLOG + 2)]

OPEN = """
update outbox.breaker
set opened_at = clock_timestamp(), failing_since = clock_timestamp(), retry_at = clock_timestamp()
"""
# What a run may write, and what it says of its place in the log.
WRITTEN = """
select (select count(*) from outbox.delivery), (select count(*) from outbox.dead_letter),
       (select count(*) from outbox.checkpoint)
"""
LONGEST = "select max(octet_length(payload)) from outbox.message where channel = 'orders'"
PARK = "update outbox.delivery set due_at = 'infinity'"
VERSION = "select xmin::text from outbox.breaker"


def opened(stage: PushStage, relay: PushRelay, *, due: bool, **settings: Any) -> Answers:
    """hot:1 and cold:1 have failed, and are `due` or not; the log has been read to its end."""
    wanted: dict[str, Any] = {"timeout_seconds": 1, "retry": AT_ONCE if due else LATER}
    stage.subscribe(**(wanted | settings))
    stage.receiver.react = answers = Answers().give("hot:1", NO).give("cold:1", NO)
    stage.publish("hot:1", "cold:1")
    # Closed, so that the log is read to its end: what follows is the next run's.
    relay.round()
    stage.settle("billing", breaker=BREAKER)
    stage.db.execute(OPEN)
    assert (stage.breaker(), len(stage.rows())) == ("half-open", 2)
    stage.receiver.requests.clear()
    return answers


def written(stage: PushStage) -> tuple[int, int, int]:
    rows, dead_letters, checkpoints = stage.db.execute(WRITTEN).fetchall()[0]
    return rows, dead_letters, checkpoints


def rounds_of_one_cool_down(stage: PushStage, relay: PushRelay) -> None:
    stage.cool_down()
    for _ in range(10):
        relay.round()


@pytest.fixture
def from_the_log(monkeypatch: pytest.MonkeyPatch, patience: None) -> None:
    """A probe is the log's next message, though heads are due."""
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)


@pytest.mark.parametrize("answer", [NO, cut, hang], ids=["failed", "cut", "no answer in time"])
def test_a_due_heads_probe_that_fails_writes_nothing_but_its_own_row(
    stage: PushStage, relay: PushRelay, answer: Reaction
) -> None:
    answers = opened(stage, relay, due=True)
    stage.publish(*HOT)
    answers.give("hot:1", answer).give("cold:1", answer)
    before = written(stage)
    for probes in range(1, 4):
        rounds_of_one_cool_down(stage, relay)
        assert (len(stage.keys()), written(stage)) == (probes, before)


def test_a_due_heads_probe_that_outlives_its_run_writes_nothing_but_its_own_row(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = opened(stage, relay, due=True)
    stage.publish(*HOT)
    answers.give("hot:1", hang).give("cold:1", hang)
    before = written(stage)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)
    rounds_of_one_cool_down(stage, relay)
    assert len(stage.receiver.wait(1)) == 1
    assert written(stage) == before
    assert [state for _, _, state in stage.rows()].count("in flight") == 1


def test_a_due_head_that_is_too_large_is_a_dead_letter_and_nothing_else_is_written(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay, due=True)
    stage.publish(*HOT)
    stage.settle("billing", max_payload_bytes=1)
    rows, _, checkpoints = written(stage)
    stage.cool_down()
    relay.round()
    assert (stage.keys(), written(stage)) == ([], (rows - 1, 1, checkpoints))


def test_where_all_of_the_log_is_blocked_nothing_is_written_and_it_is_read_once_a_cool_down(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay, due=False)
    stage.publish(*HOT)
    before = written(stage)
    stage.cool_down()
    relay.round()
    version = one(stage.db, VERSION)
    for _ in range(10):
        relay.round()
    # The breaker was written once, and nothing else at all.
    assert (one(stage.db, VERSION), written(stage)) == (version, before)
    assert (stage.keys(), stage.breaker()) == ([], "half-open")


def test_cursors_whose_log_is_blocked_do_not_hold_up_the_probe_of_another(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=False)
    stage.publish(*HOT)
    stage.publish("new:1", priority=5)
    stage.cool_down()
    relay.round()
    assert (answers.accepted, stage.breaker()) == (["new:1"], "closed")


def test_a_head_that_gets_due_is_probed_though_the_log_was_blocked_just_now(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=False)
    stage.publish(*HOT)
    rounds_of_one_cool_down(stage, relay)
    stage.let_time_pass()
    rounds_of_one_cool_down(stage, relay)
    assert (len(stage.keys()), answers.accepted) == (1, [])


def test_behind_a_parked_letter_and_a_long_backlog_the_log_comes_to_its_probe(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row will ever be due there, and what can be sent stands beyond what one run takes."""
    monkeypatch.setattr(batch, "MAX_BEHIND", 64)
    answers = opened(stage, relay, due=False)
    stage.db.execute(PARK)
    stage.publish(*HOT, "new:1")
    rows, _, _ = written(stage)
    rounds_of_one_cool_down(stage, relay)
    assert rows < len(stage.rows()) < rows + BACKLOG
    stage.settle("billing", breaker=BREAKER | {"cool_down_seconds": 1})

    def closed() -> None:
        relay.round()
        assert (answers.accepted, stage.breaker()) == (["new:1"], "closed")

    # The relay waits as it was told before.
    with PushRelay(stage.database_url) as relay:
        eventually(closed)


def test_what_is_leased_will_be_due_and_what_is_behind_it_stays_in_the_log(
    stage: PushStage, relay: PushRelay
) -> None:
    """As where all slots hang: nothing is to be retried, and no head is parked."""
    opened(stage, relay, due=False)
    stage.db.execute("update outbox.delivery set token = message_id")
    stage.publish(*HOT)
    before = written(stage)
    rounds_of_one_cool_down(stage, relay)
    assert (stage.keys(), written(stage)) == ([], before)


@pytest.mark.usefixtures("from_the_log")
def test_where_the_log_has_no_probe_a_due_head_is_it_at_once_and_nothing_else_is_written(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay, due=True)
    stage.publish(*HOT)
    before = written(stage)
    rounds_of_one_cool_down(stage, relay)
    assert (len(stage.keys()), written(stage)) == (1, before)


@pytest.mark.usefixtures("from_the_log")
@pytest.mark.parametrize("answer", [NO, cut, hang], ids=["failed", "cut", "no answer in time"])
def test_a_probe_from_the_log_that_fails_writes_its_row_and_what_the_log_goes_past(
    stage: PushStage, relay: PushRelay, answer: Reaction
) -> None:
    answers = opened(stage, relay, due=True)
    stage.publish(*HOT)
    answers.give("new:1", answer)
    stage.publish("new:1", "new:2", *(f"hot:{number}" for number in range(1000, 1000 + BACKLOG)))
    rows, dead_letters, checkpoints = written(stage)
    rounds_of_one_cool_down(stage, relay)
    assert stage.keys() == ["new:1"]
    assert written(stage) == (rows + BACKLOG + 1, dead_letters, checkpoints + 1)
    # What stands behind it stays in the log.
    assert stage.rows()[-1][0] == "new:1"
    rounds_of_one_cool_down(stage, relay)
    assert written(stage) == (rows + BACKLOG + 1, dead_letters, checkpoints + 1)


@pytest.mark.usefixtures("from_the_log")
def test_a_probe_that_stands_first_in_the_log_writes_one_row(
    stage: PushStage, relay: PushRelay
) -> None:
    opened(stage, relay, due=False)
    stage.receiver.react = NO
    stage.publish("new:1", *HOT)
    rows = len(stage.rows())
    for _ in range(3):
        rounds_of_one_cool_down(stage, relay)
        assert len(stage.rows()) == rows + 1


def test_what_can_never_be_sent_is_no_probe_and_waits_in_the_log(
    stage: PushStage, relay: PushRelay
) -> None:
    """A dead letter for each would be written every half a second, with a row for all before it."""
    opened(stage, relay, due=False)
    stage.publish(*HOT)
    stage.settle("billing", max_payload_bytes=1)
    stage.publish(*(f"large{number}:1" for number in range(20)), ":alone")
    before = written(stage)
    rounds_of_one_cool_down(stage, relay)
    assert (stage.keys(), written(stage)) == ([], before)


def test_behind_a_parked_letter_what_can_never_be_sent_becomes_one_and_its_group_goes_on(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=False)
    stage.db.execute(PARK)
    stage.publish(*HOT)
    longest = one(stage.db, LONGEST)
    stage.settle("billing", max_payload_bytes=longest)
    stage.publish(f"large:{'x' * longest}", "large:1")
    stage.cool_down()
    relay.drain()
    assert (answers.accepted, stage.breaker()) == (["large:1"], "closed")
    assert len(stage.dead_letters()) == 1


def test_what_can_never_be_sent_and_stands_first_in_the_log_becomes_a_dead_letter_at_once(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=False, max_payload_bytes=30)
    stage.publish(f"large:{'x' * 30}", "large:1", *HOT)
    stage.cool_down()
    relay.round()
    assert (written(stage)[:2], stage.breaker()) == ((2, 1), "half-open")
    relay.round()
    assert (answers.accepted, stage.breaker()) == (["large:1"], "closed")


def test_behind_what_can_never_be_sent_the_log_goes_on_with_the_probe(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=False)
    stage.publish(*HOT)
    longest = one(stage.db, LONGEST)
    stage.settle("billing", max_payload_bytes=longest)
    long = "x" * longest
    stage.publish(f":{long}", f"large:{long}", "large:1", "new:1", f"large:{long}2", "large:2")
    rounds_of_one_cool_down(stage, relay)
    assert (answers.accepted[:1], stage.breaker()) == (["new:1"], "closed")
    relay.drain()
    assert len(stage.dead_letters()) == 3
    assert [key for key in answers.accepted if key[:3] == "lar"] == ["large:1", "large:2"]


@pytest.mark.usefixtures("from_the_log")
def test_a_probe_that_is_not_sent_in_time_writes_no_row(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(stage, relay, due=True)
    stage.publish(*HOT)
    stage.publish("new:1")
    before = written(stage)
    monkeypatch.setattr(Lease, "ends_at", 0.0)
    stage.cool_down()
    relay.round()
    assert (stage.keys(), written(stage)) == ([], before)


@pytest.mark.parametrize("blocked", [False, True])
def test_what_a_filter_leaves_out_makes_no_row_and_at_most_one_checkpoint(
    stage: PushStage, relay: PushRelay, blocked: bool
) -> None:
    opened(stage, relay, due=False, types=["order.paid"])
    stage.publish(*(f"x{number}:1" for number in range(BACKLOG)), type="order.lost")
    if blocked:
        stage.publish("hot:2")
    rows, dead_letters, checkpoints = written(stage)
    for _ in range(3):
        rounds_of_one_cool_down(stage, relay)
    assert written(stage) == (rows, dead_letters, checkpoints + (not blocked))


def test_what_was_left_in_the_log_comes_in_order_once_the_breaker_has_closed(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = opened(stage, relay, due=True)
    stage.publish(*HOT)
    for _ in range(3):
        rounds_of_one_cool_down(stage, relay)
    stage.publish("new:1")
    answers.give("hot:1", OK).give("cold:1", OK)
    rounds_of_one_cool_down(stage, relay)
    relay.drain()
    assert [key for key in answers.accepted if key[0] == "h"] == ["hot:1", *HOT]
    assert (sorted(answers.accepted), stage.rows()) == (
        sorted(["hot:1", *HOT, "cold:1", "new:1"]),
        [],
    )
