"""Each group in its order, exactly once in a FIFO queue, whatever fails on the way."""

import random

from tests.fault_proxy import DROPPED, SEND, Entry, Refusal, Request
from tests.relay.push.sqs.stage import QueueStage
from tests.relay.push.stage import PushRelay, inversions

SEED = 18


def keys_of(queues: QueueStage, base: str = "orders.fifo") -> list[str]:
    return [one.key for one in queues.arrived(base)]


def test_a_batch_is_filled_across_groups_with_one_message_of_each(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect()
    queues.stage.publish(*(f"g{group}:{number}" for number in (1, 2) for group in range(10)))
    relay.drain()
    batches = [len(one.body["Entries"]) for one in queues.proxy.batches]
    assert batches == [10, 10]
    for one in queues.proxy.batches:
        groups = [entry["MessageGroupId"] for entry in one.body["Entries"]]
        assert len(set(groups)) == len(groups)
    assert inversions(keys_of(queues)) == []
    assert queues.stage.rows() == []


def test_an_entry_that_fails_holds_back_its_group_and_no_other(
    queues: QueueStage, relay: PushRelay
) -> None:
    failed = {"a:1"}

    def first_of_a(entry: Entry) -> Refusal | None:
        key = entry["MessageAttributes"]["idempotency-key"]["StringValue"]
        if key in failed:
            failed.discard(key)
            return DROPPED
        return None

    queues.proxy.drop = first_of_a
    queues.connect(retry={"schedule_seconds": [600], "jitter": 0})
    queues.stage.publish("a:1", "b:1", "a:2", "b:2", "c:1")
    relay.drain()
    assert sorted(keys_of(queues)) == ["b:1", "b:2", "c:1"]
    assert queues.stage.rows() == [("a:1", 1, "retry"), ("a:2", 0, "behind")]
    queues.stage.let_time_pass()
    relay.drain()
    assert keys_of(queues) == ["a:1", "a:2"]
    assert queues.stage.rows() == []


def test_a_lost_answer_repeats_with_the_same_deduplication_id(
    queues: QueueStage, relay: PushRelay
) -> None:
    lost = [True]

    def once(request: Request) -> bool:
        return request.action == SEND and bool(lost) and lost.pop()

    queues.proxy.lose = once
    queues.connect()
    queues.stage.publish("a:1", "b:1", "a:2")
    relay.drain()
    ids = [
        entry["MessageDeduplicationId"]
        for one in queues.proxy.batches
        for entry in one.body["Entries"]
    ]
    assert len(ids) == 5
    assert len(set(ids)) == 3
    assert sorted(keys_of(queues)) == ["a:1", "a:2", "b:1"]


def test_two_messages_with_one_idempotency_key_both_arrive(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect()
    queues.stage.publish("a:1", "a:1")
    relay.drain()
    assert keys_of(queues) == ["a:1", "a:1"]


def test_a_replay_arrives_though_the_queue_has_seen_its_messages(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect()
    queues.stage.publish("a:1", "a:2")
    relay.drain()
    for number in (1, 2):
        queues.db.execute("select outbox.replay('shop', from_time => '-infinity')")
        relay.drain()
        replayed = [one.attributes.get("replayed") for one in queues.arrived()][-2:]
        assert replayed == ["true", "true"], number
    ids = {
        entry["MessageDeduplicationId"]
        for one in queues.proxy.batches
        for entry in one.body["Entries"]
    }
    assert len(ids) == 6


def test_groups_stay_in_order_while_entries_fail_and_answers_are_lost(
    queues: QueueStage, relay: PushRelay
) -> None:
    chance = random.Random(SEED)
    queues.proxy.drop = lambda _: DROPPED if chance.random() < 0.05 else None
    queues.proxy.lose = lambda one: one.action == SEND and chance.random() < 0.02
    queues.connect()
    keys = [f"g{group}:{number}" for number in range(1, 21) for group in range(50)]
    queues.stage.publish(*keys)
    for _ in range(100):
        relay.drain()
        if not queues.stage.rows():
            break
        queues.stage.let_time_pass()
    arrived = keys_of(queues)
    assert sorted(arrived) == sorted(keys)
    assert inversions(arrived) == []
    assert queues.dead() == []
