"""Each group in its order, whatever fails on the way."""

import pytest

from tests.relay.push.pubsub.stage import TopicStage
from tests.relay.push.stage import PushRelay, inversions

SEED = 18


def test_a_groups_messages_have_requests_of_their_own_with_its_key(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.connect()
    topics.stage.publish("a:1", "b:1", "a:2", "b:2")
    relay.drain()
    assert sorted((one["key"], one["messages"]) for one in topics.server.seen()) == [
        ("a", 1),
        ("a", 1),
        ("b", 1),
        ("b", 1),
    ]
    arrived = topics.arrived()
    assert inversions(one.key for one in arrived) == []
    assert {(one.key, one.ordering_key) for one in arrived} == {
        ("a:1", "a"),
        ("a:2", "a"),
        ("b:1", "b"),
        ("b:2", "b"),
    }
    assert topics.stage.rows() == []


def test_of_a_key_one_request_is_under_way_at_a_time(topics: TopicStage, relay: PushRelay) -> None:
    topics.server.plan(delay_seconds=0.01)
    topics.connect()
    topics.stage.publish(*(f"g{group}:{number}" for number in range(1, 11) for group in range(5)))
    relay.drain()
    seen = topics.server.seen()
    assert len(seen) == 50
    assert not any(one["overlaps"] for one in seen)


def test_messages_without_a_key_share_requests(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect()
    topics.stage.publish(*(f":{number}" for number in range(250)))
    relay.drain()
    seen = topics.server.seen()
    assert sum(one["messages"] for one in seen) == 250
    assert max(one["messages"] for one in seen) == 100
    assert {one["key"] for one in seen} == {""}
    assert len(topics.keys()) == 250


def test_without_ordering_requests_hold_many_groups_and_the_key_is_an_attribute(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.connect(ordering=False)
    topics.stage.publish(*(f"g{group}:{number}" for number in (1, 2) for group in range(50)))
    relay.drain()
    sizes = [one["messages"] for one in topics.server.seen()]
    # As pages of the log come.
    assert (sum(sizes), len(sizes) <= 4) == (100, True)
    arrived = topics.arrived()
    assert {one.ordering_key for one in arrived} == {""}
    assert all(one.key.startswith(f"{one.attributes['ce-partitionkey']}:") for one in arrived)
    assert inversions(one.key for one in arrived) == []


def test_a_request_that_fails_holds_back_its_group_and_no_other(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(codes=["UNAVAILABLE"], only="a")
    topics.connect(retry={"schedule_seconds": [600], "jitter": 0})
    topics.stage.publish("a:1", "b:1", "a:2", "b:2", "c:1")
    relay.drain()
    assert sorted(topics.keys()) == ["b:1", "b:2", "c:1"]
    assert topics.stage.rows() == [("a:1", 1, "retry"), ("a:2", 0, "behind")]
    topics.stage.let_time_pass()
    relay.drain()
    assert topics.keys() == ["a:1", "a:2"]
    assert topics.stage.rows() == []


def test_a_lost_answer_repeats_its_message_and_overtakes_nothing(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(lose_share=1.0)
    topics.connect(retry={"schedule_seconds": [600], "jitter": 0})
    topics.stage.publish("a:1", "a:2")
    relay.drain()
    assert topics.keys() == ["a:1"]
    topics.server.plan()
    topics.stage.let_time_pass()
    relay.drain()
    assert topics.keys() == ["a:1", "a:2"]


def test_a_replay_arrives_and_says_so(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect()
    topics.stage.publish("a:1", "a:2")
    relay.drain()
    assert topics.keys() == ["a:1", "a:2"]
    topics.db.execute("select outbox.replay('shop', from_time => '-infinity')")
    relay.drain()
    assert [(one.key, one.attributes["replayed"]) for one in topics.arrived()] == [
        ("a:1", "true"),
        ("a:2", "true"),
    ]


def test_a_test_message_goes_to_the_connectors_topic(topics: TopicStage, relay: PushRelay) -> None:
    made = topics.connect()
    topics.db.execute("select outbox.send_test(%s)", [made])
    relay.drain()
    ((_, attributes, _),) = topics.arrived()
    assert attributes["ce-type"] == "outbox.test"


@pytest.mark.parametrize("ordering", [True, False])
def test_groups_stay_in_order_while_requests_fail_and_answers_are_lost(
    topics: TopicStage, relay: PushRelay, ordering: bool
) -> None:
    topics.server.plan(fail_share=0.05, lose_share=0.02, seed=SEED)
    topics.connect(ordering=ordering)
    keys = [f"g{group}:{number}" for number in range(1, 21) for group in range(50)]
    topics.stage.publish(*keys)
    for _ in range(100):
        relay.drain()
        if not topics.stage.rows():
            break
        topics.stage.let_time_pass()
    arrived = topics.keys()
    assert set(arrived) == set(keys)
    assert inversions(arrived) == []
    assert topics.dead() == []
