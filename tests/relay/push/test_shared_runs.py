"""Endpoints whose subscriptions follow the log together: each as if it were alone."""

from random import Random

import pytest
from psycopg import errors

from relay.push.requests import sending
from tests.receiver import respond
from tests.relay.push.stage import LATER, Answers, PushStage, inversions
from tests.relay.push.together import Together, subscribe
from tests.sql.log import one

CHECKPOINTS = """
select count(distinct xmin::text), count(*) from outbox.checkpoint
where messages > 0 and relay <> ''
"""


NO_SECRET = """
delete from outbox.secret where subscription_id = (
    select id from outbox.subscription where name = %s)
"""


def test_one_message_comes_to_all_in_one_run_and_leaves_no_row(
    stage: PushStage, together: Together
) -> None:
    names = [f"s{n}" for n in range(10)]
    subscribe(stage, *names)
    stage.publish("a:1", "a:2", ":3")
    ran = together.run()
    for name in names:
        assert sorted(stage.keys(name)) == [":3", "a:1", "a:2"]
        assert stage.keys(name).index("a:1") < stage.keys(name).index("a:2")
    assert all(one.progressed and one.exhausted and not one.alone for one in ran.values())
    assert stage.rows() == []
    assert stage.db.execute(CHECKPOINTS).fetchone() == (1, 10)
    assert not together.relay.request_loop.has_shared_run


def test_one_that_fails_has_its_rows_and_the_others_have_none(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good")
    stage.subscribe("fails", retry=LATER)
    stage.receiver.paths["/fails"] = respond(500)
    stage.publish("a:1", "a:2", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["fails"].alone) == (False, True)
    assert sorted(stage.rows()) == [
        ("a:1", 1, "retry"),
        ("a:2", 0, "behind"),
        ("b:1", 1, "retry"),
    ]
    assert ran["fails"].progressed


@pytest.mark.parametrize("what", ["rate", "secret", "head", "breaker"])
def test_what_is_not_simple_is_left_to_go_alone(
    stage: PushStage, together: Together, what: str
) -> None:
    subscribe(stage, "good")
    stage.subscribe("odd", retry=LATER)
    if what == "rate":
        stage.settle("odd", rate_per_second=5)
    if what == "secret":
        stage.db.execute(NO_SECRET, ["odd"])
    if what == "head":
        stage.receiver.paths["/odd"] = respond(500)
        stage.publish("z:1")
        together.relay.drain()
        del stage.receiver.paths["/odd"]
    if what == "breaker":
        stage.db.execute(
            "update outbox.breaker set failing_since = now(), opened_at = now(),"
            " retry_at = now()"
            " where subscription_id = (select id from outbox.subscription where name = 'odd')"
        )
    before = stage.keys("odd")
    stage.publish("a:1")
    ran = together.run()
    assert (ran["odd"].alone, ran["odd"].progressed) == (True, False)
    assert ran["good"].progressed
    assert stage.keys("odd") == before


def test_a_group_that_is_parked_is_not_passed(stage: PushStage, together: Together) -> None:
    subscribe(stage, "good")
    stage.subscribe("parks", retry={"schedule_seconds": [], "jitter": 0}, on_exhausted="park")
    stage.receiver.paths["/parks"] = respond(500)
    stage.publish("a:1")
    together.relay.drain()
    assert [state for _, _, state in stage.rows()] == ["parked"]
    del stage.receiver.paths["/parks"]
    stage.publish("a:2", "b:1")
    assert together.run()["parks"].alone
    together.relay.drain()
    assert stage.keys("parks") == ["a:1", "b:1"]


def test_all_priorities_of_a_subscription_go_in_one_run_the_urgent_first(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")
    # The one slot is for the urgent message, and then for the other.
    stage.settle("good", concurrency=1)
    for priority in (5, 3, 1):
        stage.publish(f"{priority}:1", f"{priority}:2", priority=priority)
    together.run()
    assert stage.keys("good") == ["1:1", "1:2", "3:1", "3:2", "5:1", "5:2"]
    assert sorted(stage.keys("better")) == sorted(stage.keys("good"))
    assert together.relay.probe() == []
    assert stage.rows() == []


def test_each_gets_the_types_that_it_wants(stage: PushStage, together: Together) -> None:
    subscribe(stage, "all")
    stage.subscribe("paid", types=["order.paid"])
    stage.subscribe("sent", types=["order.sent"])
    stage.publish("a:1", type="order.paid")
    stage.publish("a:2", type="order.sent")
    stage.publish("a:3", type="order.lost")
    together.run()
    assert stage.keys("all") == ["a:1", "a:2", "a:3"]
    assert (stage.keys("paid"), stage.keys("sent")) == (["a:1"], ["a:2"])
    assert together.relay.probe() == []


def test_a_run_that_ends_early_passes_over_nothing_that_was_not_sent(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By time, in the middle of the log, with filters that leave most out."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.05)
    subscribe(stage, "all")
    stage.subscribe("few", types=["order.sent"])
    random = Random(7)
    written: list[tuple[str, str]] = []
    for n in range(1, 601):
        kind = "order.sent" if random.random() < 0.05 else "order.paid"
        written.append((f"g{n % 7}:{n}", kind))
        stage.publish(written[-1][0], type=kind)
    together.drain()
    for _ in range(200):
        if not together.relay.round():
            break
        stage.let_time_pass()
    assert sorted(set(stage.keys("all"))) == sorted(key for key, _ in written)
    sent = [key for key, kind in written if kind == "order.sent"]
    assert sorted(set(stage.keys("few"))) == sorted(sent)
    assert inversions(stage.keys("all")) == []


@pytest.mark.parametrize("has_rows", [False, True])
def test_a_changed_schedule_takes_effect_alone(
    stage: PushStage, together: Together, has_rows: bool
) -> None:
    stage.subscribe("changed", retry=LATER)
    stage.subscribe("other")
    if has_rows:
        stage.receiver.paths["/changed"] = respond(500)
    stage.publish("a:1")
    together.run()
    stage.settle("changed", retry={"schedule_seconds": [0], "jitter": 0})
    assert together.run()["changed"].alone
    stage.receiver.paths.clear()
    together.relay.drain()
    assert together.relay.probe() == []
    assert stage.rows() == []


def test_of_a_run_whose_checkpoint_another_relay_wrote_nothing_counts(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")

    def overtake(_: object) -> bytes:
        stage.db.execute(
            "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
            " select k.cursor_id, k.n + 1, k.seen, '' from outbox.checkpoint k"
            " join outbox.cursor c on c.id = k.cursor_id"
            " join outbox.subscription s on s.id = c.subscription_id"
            " where s.name = 'better' and c.priority = 3 order by k.n desc limit 1"
        )
        return respond()

    stage.receiver.paths["/better"] = overtake
    stage.publish("a:1")
    with pytest.raises(errors.UniqueViolation):
        together.run()
    del stage.receiver.paths["/better"]
    together.run()
    assert stage.keys("good") == ["a:1", "a:1"]


def test_failing_and_healthy_ones_together_keep_every_groups_order(
    stage: PushStage, together: Together
) -> None:
    names = [f"s{n}" for n in range(4)]
    subscribe(stage, *names)
    answers = {name: Answers() for name in names}
    random = Random(11)
    keys = [f"g{n % 5}:{n}" for n in range(1, 121)]
    for name in names[:2]:
        for key in keys:
            if random.random() < 0.2:
                answers[name].give(key, respond(500), respond())
    stage.receiver.paths.update({f"/{name}": answers[name] for name in names})
    for begin in range(0, len(keys), 10):
        stage.publish(*keys[begin : begin + 10])
        together.run()
        together.relay.round()
    stage.let_time_pass()
    together.relay.drain()
    for name in names:
        assert sorted(answers[name].accepted) == sorted(keys)
        assert inversions(answers[name].accepted) == []
    assert stage.rows() == []


def test_the_next_run_is_claimed_with_the_end_of_the_last(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")
    published = [False]

    def more(_: object) -> bytes:
        if not published[0]:
            published[0] = True
            stage.publish("a:2")
        return respond()

    stage.receiver.paths["/good"] = more
    stage.publish("a:1")
    ran = together.run(again=True)
    assert all(one.begun for one in ran.values())
    held = one(
        stage.db,
        "select count(*) from outbox.cursor where id not in (select id from outbox.cursor"
        " for no key update skip locked)",
    )
    assert held == 2
    ran = together.run(again=True)
    assert not any(one.begun for one in ran.values())
    assert stage.keys("better") == ["a:1", "a:2"]
