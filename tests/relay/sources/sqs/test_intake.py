"""Messages of a real queue enter the log of a real database, each once."""

import json
import threading

import pytest
from psycopg.errors import CheckViolation
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.fault_proxy import Refusal, Request
from tests.relay.sources.inward_stage import in_order
from tests.relay.sources.sqs.stage import DELETE, HOLD, RECEIVE, InwardQueues

pytestmark = pytest.mark.long

SNS = {
    "Type": "Notification",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "TopicArn": "arn:aws:sns:eu-central-1:123456789012:orders",
    "Message": '{"n": 1}',
    "MessageAttributes": {
        "ce_type": {"Type": "String", "Value": "order.paid"},
        "ce_id": {"Type": "String", "Value": "7"},
        "ce_source": {"Type": "String", "Value": "/shop"},
        "bytes": {"Type": "Binary", "Value": "AAE="},
    },
}


def numbered(number: int, groups: int, start: int = 0) -> tuple[list[str], list[str]]:
    """Bodies, and the group of each."""
    numbers = range(start, start + number)
    return [json.dumps({"n": n}) for n in numbers], [f"g{n % groups}" for n in numbers]


def test_messages_enter_once_in_the_order_of_their_groups_and_are_deleted(
    queues: InwardQueues,
) -> None:
    base = queues.queue()
    bodies, groups = numbered(300, 20)
    queues.send(base, bodies, groups=groups)
    queues.take_in_queue(base)
    queues.once()
    entered = queues.all_entered(300)
    in_order(entered)
    assert {one.group_key for one in entered} == {f"g{n}" for n in range(20)}
    assert queues.left() == 0
    queues.once()
    assert len(queues.entered()) == 300
    state = queues.state()
    assert (state["entered"], state["lag"], state["dead_letters"]) == (300, 0, 0)


def test_a_message_of_another_program_enters_as_it_is(queues: InwardQueues) -> None:
    base = queues.queue("plain")
    queues.send(base, ["plain text"], attributes={"tenant": "acme", "X-Amz-Trace": "1"})
    queues.take_in_queue(base)
    queues.once()
    [one] = queues.all_entered(1)
    assert (one.payload, one.type, one.group_key) == (b"plain text", queues.name("plain"), None)
    assert one.content_type == "text/plain; charset=utf-8"
    assert one.headers == {
        "outbox-path": queues.installation,
        "tenant": "acme",
        "X-Amz-Trace": "1",
    }
    # The queue's own id of it.
    assert len(one.idempotency_key) == 36


def test_what_enters_has_the_priority_of_its_connector(queues: InwardQueues) -> None:
    base = queues.queue("plain")
    queues.send(base, ["1"])
    queues.execute(
        "select outbox.connect_in('shop', 'shop', 'sqs', %s, priority => 5)",
        Jsonb(queues.config(base)),
    )
    queues.once()
    queues.all_entered(1)
    assert queues.query("select priority from outbox.message where channel = 'shop'") == [(5,)]


def test_what_goes_out_to_a_queue_comes_in_from_it_as_it_was(queues: InwardQueues) -> None:
    """By the connectors of both directions; the path is taken off, else it would be a loop."""
    base = queues.queue()
    config = queues.config(base)
    queues.execute("select outbox.connect('out', 'orders', 'sqs', %s)", Jsonb(config))
    headers = json.dumps({f"own-{n}": f"v {n}" for n in range(12)})
    queues.execute(
        "insert into outbox.message (channel, type, group_key, idempotency_key, headers,"
        " content_type, payload) values ('orders', 'order.paid', 'a key with blanks', 'key-1', %s,"
        " 'application/x-bytes', '\\x00ff'), ('orders', 'order.sent', 'g', 'key-2', null,"
        " 'application/json', '{}')",
        headers,
    )
    queues.once()
    assert queues.left() == 2
    queues.take_in_queue(base)
    queues.once()
    by_key = {one.idempotency_key: one for one in queues.all_entered(2)}
    first, second = by_key["key-1"], by_key["key-2"]
    assert (first.type, first.group_key) == ("order.paid", "a key with blanks")
    assert (first.payload, first.content_type) == (b"\x00\xff", "application/x-bytes")
    assert first.headers.items() >= json.loads(headers).items()
    assert (second.type, second.group_key, second.payload) == ("order.sent", "g", b"{}")
    assert second.content_type == "application/json"


def test_what_was_sent_here_does_not_come_in_again(queues: InwardQueues) -> None:
    """There is a source, so what goes out says where it was."""
    base, other = queues.queue(), queues.queue("other.fifo")
    queues.take_in_queue(other, "elsewhere")
    config = queues.config(base)
    queues.execute("select outbox.connect('out', 'orders', 'sqs', %s)", Jsonb(config))
    queues.execute("select outbox.publish('orders', 'order.paid', '{}', group_key => 'g')")
    queues.once()
    assert queues.left() == 1
    queues.take_in_queue(base)
    queues.once()
    assert queues.entered() == []
    assert (queues.state()["passed"], queues.left()) == (1, 0)


def test_a_queue_that_its_channel_goes_out_to_is_refused(queues: InwardQueues) -> None:
    config = Jsonb(queues.config("orders.fifo"))
    queues.execute("select outbox.connect('out', 'orders', 'sqs', %s)", config)
    with pytest.raises(CheckViolation, match=r"settings\.queue_url leads round"):
        queues.take_in_queue("orders.fifo", "orders")
    queues.take_in_queue("orders.fifo", "shop")
    with pytest.raises(CheckViolation, match=r"settings\.queue_url leads round"):
        queues.execute("select outbox.connect('back', 'shop', 'sqs', %s)", config)


def test_notifications_are_unwrapped_where_the_settings_say_so(queues: InwardQueues) -> None:
    base = queues.queue("plain")
    queues.send(base, [json.dumps(SNS)])
    queues.take_in_queue(base)
    queues.once()
    [wrapped] = queues.all_entered(1)
    assert json.loads(wrapped.payload) == SNS

    base = queues.queue("unwrapped")
    queues.send(base, [json.dumps(SNS), "no notification"])
    queues.take_in_queue(base, "open", unwrap="sns")
    queues.once()
    [one] = queues.all_entered(1, "open")
    assert (one.payload, one.type) == (b'{"n": 1}', "order.paid")
    assert (one.headers["event-id"], "bytes" in one.headers) == ("7", False)
    assert queues.query("select reason, value from outbox.source_dead_letter") == [
        ("no_notification", b"no notification")
    ]
    assert queues.left("unwrapped") == 0


def test_what_can_not_enter_is_kept_whole_and_tried_again(queues: InwardQueues) -> None:
    base = queues.queue()
    queues.execute("alter table outbox.message add constraint own check (payload <> 'x'::bytea)")
    queues.send(base, ["1", "x", "2"], groups=["g"] * 3, attributes={"a": "b"})
    queues.take_in_queue(base)
    queues.once()
    assert [one.payload for one in queues.all_entered(2)] == [b"1", b"2"]
    assert queues.left() == 0
    assert queues.query(
        "select key, value, header_names, header_values, reason from outbox.source_dead_letter"
    ) == [(b"g", b"x", ["a"], [b"b"], "refused")]
    queues.execute("alter table outbox.message drop constraint own")
    assert "entered: 1" in queues.command("redrive", "shop", "--all")
    again = queues.entered()[2]
    assert (again.payload, again.group_key, again.headers["a"]) == (b"x", "g", "b")


def test_a_relay_that_dies_between_commit_and_delete_doubles_nothing(
    queues: InwardQueues,
) -> None:
    base = queues.queue()
    bodies, groups = numbered(40, 4)
    queues.send(base, bodies, groups=groups)
    queues.take_in_queue(base)
    died = threading.Event()

    def die(request: Request) -> None:
        if request.action == DELETE and not died.is_set():
            died.set()
            relay.kill()

    queues.proxy.refuse = lambda one: Refusal("InternalError") if not alive(one) else None

    def alive(request: Request) -> bool:
        return not (request.action == DELETE and not deleted.is_set())

    deleted = threading.Event()
    queues.proxy.before = die
    relay = queues.relay()
    assert died.wait(30)
    committed = len(queues.entered())
    assert committed > 0
    deleted.set()
    queues.relay()
    in_order(queues.all_entered(40))

    def nothing_left() -> None:
        assert queues.left() == 0

    eventually(nothing_left, 30)
    assert len(queues.entered()) == 40
    assert queues.query("select count(*) from outbox.source_receipt") == [(40,)]


def test_a_frozen_relay_that_wakes_past_visibility_doubles_and_overtakes_nothing(
    queues: InwardQueues,
) -> None:
    base = queues.queue()
    bodies, groups = numbered(60, 3)
    queues.send(base, bodies[:30], groups=groups[:30])
    queues.take_in_queue(base)
    answered = threading.Event()

    def freeze(request: Request) -> None:
        if request.action == RECEIVE and not answered.is_set():
            answered.set()

    queues.proxy.before = freeze
    # What it receives it can't insert: the table is held until it is frozen.
    with queues.database() as holder:
        holder.execute("begin; lock table outbox.message in exclusive mode")
        frozen = queues.relay(RELAY_NAME="frozen")
        assert answered.wait(30)

        def waits() -> None:
            [(waiting,)] = queues.query(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            )
            assert waiting > 0

        eventually(waits, 30)
        frozen.pause()
        holder.execute("rollback")
    queues.relay(RELAY_NAME="other")
    queues.send(base, bodies[30:], groups=groups[30:])
    in_order(queues.all_entered(60, timeout_seconds=60))
    frozen.resume()
    bodies, groups = numbered(30, 3, 60)
    queues.send(base, bodies, groups=groups)
    in_order(queues.all_entered(90, timeout_seconds=60))

    def nothing_left() -> None:
        assert queues.left() == 0

    eventually(nothing_left, 30)
    assert len(queues.entered()) == 90


def test_a_batch_that_waits_is_held_and_nobody_else_receives_it(queues: InwardQueues) -> None:
    base = queues.queue()
    queues.send(base, ["1"])
    queues.take_in_queue(base)
    with queues.database() as holder:
        holder.execute("begin; lock table outbox.message in exclusive mode")
        queues.relay()

        def held_on() -> None:
            assert queues.actions(HOLD) >= 4

        eventually(held_on, 30)
        # Longer than the queue's own time, and it was not handed out again.
        assert queues.left() == 1
        said = queues.server.ask("ReceiveMessage", QueueUrl=queues.server.url(queues.name(base)))
        assert not said.get("Messages")
        holder.execute("rollback")
    queues.all_entered(1)


def test_nothing_is_received_while_the_database_is_away(queues: InwardQueues) -> None:
    """What is handed out too often may end in the queue's own dead-letter queue."""
    base = queues.queue()
    queues.take_in_queue(base)
    queues.relay()

    def received() -> None:
        assert queues.actions(RECEIVE) >= 1

    eventually(received, 30)
    with queues.database() as holder:
        holder.execute("begin; lock table outbox.source in access exclusive mode")
        eventually(received)
        queues.query("select pg_sleep(6)")
        before = queues.actions(RECEIVE)
        queues.query("select pg_sleep(6)")
        assert queues.actions(RECEIVE) == before
        holder.execute("rollback")
    queues.send(base, ["1"])
    queues.all_entered(1)


@pytest.mark.parametrize(
    ("code", "words"),
    [("QueueDoesNotExist", "queue_absent"), ("AccessDenied", "queue_denied")],
)
def test_a_queue_that_is_not_to_be_had_is_waited_for_with_its_reason(
    queues: InwardQueues, code: str, words: str
) -> None:
    base = queues.queue()
    queues.send(base, ["1"])
    queues.proxy.refuse = lambda _: Refusal(code)
    queues.take_in_queue(base)
    queues.relay()
    queues.waits(words)
    queues.proxy.refuse = lambda _: None
    queues.all_entered(1)

    def no_longer() -> None:
        assert queues.state()["waiting_reason"] is None

    eventually(no_longer, 15)


def test_who_may_not_delete_is_told_and_doubles_nothing(queues: InwardQueues) -> None:
    base = queues.queue()
    queues.send(base, ["1"])
    queues.proxy.refuse = lambda one: Refusal("AccessDenied") if one.action == DELETE else None
    queues.take_in_queue(base)
    queues.relay()
    queues.waits("queue_denied")

    def again() -> None:
        assert queues.actions(DELETE) >= 2

    eventually(again, 30)
    assert len(queues.entered()) == 1


def test_a_queue_that_is_not_allowed_is_not_dialled(queues: InwardQueues) -> None:
    base = queues.queue()
    queues.take_in_queue(base)
    assert queues.relay("--once", RELAY_ALLOW_HOSTS="").wait(60) == 1
    assert "names no such queue" in queues.state()["waiting_reason"]
    assert queues.proxy.requests == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"unwrap": "sqs"}, "settings.unwrap must be sns"),
        ({"topic": "a"}, "settings.topic is not known"),
        ({"concurrency": "4"}, "settings.concurrency is not known"),
        ({"queue_url": "ftp://x"}, "settings.queue_url must be"),
    ],
)
def test_a_config_that_means_nothing_is_refused(
    queues: InwardQueues, given: dict[str, str], words: str
) -> None:
    with pytest.raises(CheckViolation, match=words):
        queues.take_in_queue("orders.fifo", **given)


def test_receipts_are_forgotten_when_no_queue_can_hand_them_out_again(
    queues: InwardQueues,
) -> None:
    queues.take_in_queue("orders.fifo")
    queues.execute(
        "insert into outbox.source_receipt (source_id, message_id, received_at)"
        " select id, days::text, clock_timestamp() - make_interval(days => days)"
        " from outbox.source, unnest(array[1, 14, 16]) as days"
    )
    assert queues.query("select outbox.trim_receipts()") == [(1,)]
    assert queues.query("select message_id from outbox.source_receipt order by 1") == [
        ("1",),
        ("14",),
    ]
