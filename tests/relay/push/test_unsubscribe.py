"""A subscription is deleted as soon as nothing waits for it, and not before."""

import psycopg
import pytest
from psycopg import errors

from relay.push.requests import sending
from tests.eventually import eventually
from tests.receiver import OK, after, respond
from tests.relay.plans import explain
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

NO = respond(500)
NOISE = """
insert into outbox.message (channel, type, group_key, priority, payload)
select 'noise', 'tick', 'g' || n, priority, '{}'
from generate_series(1, %s) as n, unnest(%s::smallint[]) as priority
"""
# Done in a delta that is under way: all of the log up to this message.
UNDER_WAY = """
insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
select k.cursor_id, max(n) + 1, (array_agg(k.seen order by n desc))[1], pg_current_snapshot(),
       (select id from outbox.message where idempotency_key = %s),
       (select min(id) from outbox.message), (select max(id) from outbox.message), 'test'
from outbox.checkpoint k join outbox.cursor c on c.id = k.cursor_id
where c.priority = 3 group by k.cursor_id
"""


def noise(stage: PushStage, count: int = 3000, priorities: tuple[int, ...] = (3,)) -> None:
    """Messages of a channel that the subscription does not have."""
    stage.db.execute(NOISE, [count, list(priorities)])


def unsubscribe(stage: PushStage, subscription_id: int) -> None:
    stage.db.execute("select outbox.unsubscribe(%s)", [subscription_id])
    assert one(stage.db, "select count(*) from outbox.subscription") == 0


def refused(stage: PushStage, subscription_id: int, why: str = "unread messages") -> None:
    with pytest.raises(errors.DependentObjectsStillExist, match=why):
        stage.db.execute("select outbox.unsubscribe(%s)", [subscription_id])


@pytest.mark.parametrize("shards", [1, 4])
def test_what_others_published_does_not_stand_in_the_way(stage: PushStage, shards: int) -> None:
    subscription_id = stage.subscribe(shards=shards)
    noise(stage, priorities=(1, 3, 5))
    unsubscribe(stage, subscription_id)


def test_other_types_of_its_channel_do_not_stand_in_the_way(stage: PushStage) -> None:
    subscription_id = stage.subscribe(types=["order.paid"])
    stage.publish(*(f"g{number}:1" for number in range(1500)), type="order.shipped")
    unsubscribe(stage, subscription_id)


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("priority", [1, 3, 5])
def test_one_message_far_behind_those_of_others_stands_in_the_way(
    stage: PushStage, shards: int, priority: int
) -> None:
    subscription_id = stage.subscribe(shards=shards)
    noise(stage, priorities=(priority,))
    stage.publish("a:1", priority=priority)
    noise(stage, priorities=(priority,))
    refused(stage, subscription_id)


def test_it_goes_when_what_it_wants_has_arrived_and_others_go_on(
    stage: PushStage, relay: PushRelay
) -> None:
    subscription_id = stage.subscribe()
    noise(stage)
    stage.publish("a:1", "b:1")
    relay.drain()
    noise(stage)
    unsubscribe(stage, subscription_id)


@pytest.mark.parametrize(("key", "goes"), [("a:1", False), ("a:2", True)])
def test_of_a_delta_under_way_only_what_is_not_done_stands_in_the_way(
    stage: PushStage, key: str, goes: bool
) -> None:
    subscription_id = stage.subscribe()
    stage.publish("a:1")
    noise(stage)
    stage.publish("a:2")
    noise(stage)
    stage.db.execute(UNDER_WAY, [key])
    noise(stage)
    if goes:
        unsubscribe(stage, subscription_id)
    else:
        refused(stage, subscription_id)


def test_what_came_after_a_delta_under_way_began_stands_in_the_way(stage: PushStage) -> None:
    subscription_id = stage.subscribe()
    stage.publish("a:1")
    stage.db.execute(UNDER_WAY, ["a:1"])
    noise(stage)
    stage.publish("a:2")
    refused(stage, subscription_id)


@pytest.mark.parametrize("under_way", [False, True])
def test_a_late_commit_below_what_is_done_stands_in_the_way(
    stage: PushStage, relay: PushRelay, under_way: bool
) -> None:
    subscription_id = stage.subscribe()
    with psycopg.connect(stage.database_url) as writer:
        writer.execute("select outbox.publish('orders', 't', '{}', group_key => 'late')")
        stage.publish("a:1")
        noise(stage)
        relay.drain()
        if under_way:
            stage.publish("a:2")
            stage.db.execute(UNDER_WAY, ["a:2"])
        # An open transaction may commit or not.
        with stage.db.transaction(force_rollback=True):
            stage.db.execute("select outbox.unsubscribe(%s)", [subscription_id])
        writer.commit()
    refused(stage, subscription_id)
    stage.db.execute("update outbox.subscription set channels = '{other}'")
    unsubscribe(stage, subscription_id)


def test_a_replay_that_has_begun_stands_in_the_way_as_far_as_it_is_wanted(
    stage: PushStage, relay: PushRelay
) -> None:
    subscription_id = stage.subscribe()
    stage.publish("a:1", "a:2")
    relay.drain()
    noise(stage)
    stage.db.execute("select outbox.replay('billing', from_message_id => 0)")
    refused(stage, subscription_id)
    relay.drain()
    noise(stage)
    unsubscribe(stage, subscription_id)


def test_a_dead_letter_that_was_acknowledged_late_does_not_stand_in_the_way(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription_id = stage.subscribe(retry={"schedule_seconds": []})
    stage.receiver.react = answers = Answers().give("a:1", NO)
    stage.publish("a:1")
    relay.drain()
    refused(stage, subscription_id, "undelivered dead letters")
    answers.give("a:1", after(0.3, OK))
    stage.db.execute("select outbox.redrive(array(select id from outbox.dead_letter))")
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)
    relay.round()
    refused(stage, subscription_id, "undelivered dead letters")

    def acknowledged() -> None:
        assert stage.rows() == [("a:1", 1, "acked")]

    eventually(acknowledged)
    unsubscribe(stage, subscription_id)


def test_what_waits_for_another_attempt_stands_in_the_way(
    stage: PushStage, relay: PushRelay
) -> None:
    subscription_id = stage.subscribe(retry=LATER)
    stage.receiver.react = NO
    stage.publish("a:1")
    relay.drain()
    refused(stage, subscription_id, "messages on their way")


def test_looking_touches_pages_by_what_is_unread_and_not_by_what_is_retained(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    noise(stage, 20_000)
    stage.publish("a:1")
    relay.drain()
    noise(stage, 10)
    stage.publish("a:2")
    cursor = one(stage.db, "select id from outbox.cursor where priority = 3")
    look = "select outbox.has_unread(%(cursor)s, clock_timestamp() + interval '1 minute')"
    assert explain(stage.db, look, {"cursor": cursor}).buffers < 100


def test_where_there_is_too_much_to_look_through_it_says_so(stage: PushStage) -> None:
    stage.subscribe()
    noise(stage)
    looked = "select outbox.has_unread(id, clock_timestamp()) from outbox.cursor where priority = 3"
    assert one(stage.db, looked) is None
