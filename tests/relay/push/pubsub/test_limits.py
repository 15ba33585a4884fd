"""What Pub/Sub does not take is a dead letter that names the limit; what it takes arrives whole."""

import time

import pytest

from local.pubsub import PROJECT
from relay.log.data_schemas import DataSchemas
from relay.log.encoding import NotEncodable, Unsendable
from relay.log.message import Row
from relay.log.path import OwnPath
from relay.push.http.answer import Answer
from relay.push.policy.settings import Topic
from relay.push.pubsub.message import EMPTY_KEY, Messages
from relay.push.pubsub.session import Session
from tests.eventually import eventually
from tests.relay.push.pubsub.stage import Arrival, TopicStage
from tests.relay.push.stage import PushRelay

LARGE: Row = (1, b"orders", b"t", None, b"k", None, b"text/plain", b"x" * 983_000, 0, None, 0)


def only(topics: TopicStage, relay: PushRelay) -> Arrival:
    relay.drain()
    (arrival,) = topics.arrived()
    assert topics.dead() == []
    return arrival


@pytest.mark.parametrize("payload", [b'{"a": 1}', b"\x00\xff\xfe", b""])
def test_a_payload_arrives_byte_for_byte(
    topics: TopicStage, relay: PushRelay, payload: bytes
) -> None:
    topics.connect()
    topics.publish("a:1", payload)
    assert only(topics, relay).data == payload


def test_the_attributes_are_those_of_a_cloud_event_beside_the_messages_own(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.connect()
    topics.publish("a:1", headers={"traceparent": "00-1-2-01", "group-key": "mine", "empty": ""})
    attributes = only(topics, relay).attributes
    assert attributes.pop("ce-time").endswith("Z")
    assert attributes == {
        "ce-specversion": "1.0",
        "ce-id": "a:1",
        "ce-type": "order.paid",
        "ce-source": "/outbox",
        "Content-Type": "application/json",
        "idempotency-key": "a:1",
        "traceparent": "00-1-2-01",
        "group-key": "mine",
        "empty": "",
    }


def test_as_many_headers_as_there_is_room_for_arrive(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect()
    own = {f"x-{number}": "v" for number in range(93)}
    topics.publish("a:1", headers=own)
    assert len(only(topics, relay).attributes) == 100


@pytest.mark.parametrize(
    ("own", "reason", "words"),
    [
        ({f"x-{n}": "v" for n in range(94)}, "attributes_per_message", "at most 100"),
        ({"x": "v" * 1025}, "attribute_value_size", "at most 1024"),
        ({"x": "ü" * 513}, "attribute_value_size", "at most 1024"),
        ({"goog-x": "v"}, "attribute_key_goog", "begins with goog"),
        ({"GOOGLE": "v"}, "attribute_key_goog", "begins with goog"),
    ],
)
def test_headers_beyond_a_limit_make_a_dead_letter_that_names_it(
    topics: TopicStage, relay: PushRelay, own: dict[str, str], reason: str, words: str
) -> None:
    topics.connect()
    topics.publish("a:1", headers=own)
    topics.publish("b:1", group="b", headers={"x": "v" * 1024})
    relay.drain()
    assert topics.keys() == ["b:1"]
    ((key, found, detail),) = topics.dead()
    assert (key, found, words in detail) == ("a:1", reason, True)
    assert len(topics.server.seen()) == 1


@pytest.mark.parametrize("group", ["a b", "ü", "x" * 1024])
def test_a_group_key_is_the_ordering_key_as_it_is(
    topics: TopicStage, relay: PushRelay, group: str
) -> None:
    topics.connect()
    topics.publish("a:1", group=group)
    arrival = only(topics, relay)
    assert arrival.ordering_key == group
    assert "ce-partitionkey" not in arrival.attributes


def test_the_empty_group_key_is_a_group_as_any_other(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect()
    topics.publish("a:1", group="")
    assert only(topics, relay).ordering_key == EMPTY_KEY


def test_what_the_log_itself_would_refuse_is_no_message_either() -> None:
    def row(group: bytes, headers: bytes | None = None) -> Row:
        return (1, b"orders", b"t", group, b"k", headers, b"text/plain", b"", 0, None, 0)

    messages = Messages("/outbox", ordering=True)
    with pytest.raises(Unsendable) as refused:
        messages.of(row(b"x" * 1025), replayed=False)
    assert refused.value.reason == "ordering_key_size"
    with pytest.raises(Unsendable) as refused:
        messages.of(row(b"g", b'{"%b": "v"}' % (b"n" * 257)), replayed=False)
    assert refused.value.reason == "attribute_key_size"
    with pytest.raises(NotEncodable):
        messages.of(row(b"g", b"[]"), replayed=False)


def test_a_message_names_the_installations_that_it_has_passed() -> None:
    here, there = ("0b7a7c6e-0000-4000-8000-00000000000" + end for end in "12")
    path = OwnPath()
    path.installation = here
    headers = b'{"outbox-path": "%b"}' % there.encode()
    row: Row = (1, b"orders", b"t", None, b"k", headers, b"text/plain", b"", 0, None, 0)
    message = Messages("/outbox", ordering=True, path=path).of(row, replayed=False)
    assert message.wire.attributes["outbox-path"] == f"{there},{here}"


def test_a_message_says_by_which_schema_it_was_checked() -> None:
    schemas = DataSchemas("https://shop.example/v1/event-types")
    row: Row = (1, b"orders", b"t", None, b"k", None, b"text/plain", b"", 0, 2, 0)
    message = Messages("/outbox", ordering=True, schemas=schemas).of(row, replayed=False)
    uri = "https://shop.example/v1/event-types/t/versions/2"
    assert message.wire.attributes["ce-dataschema"] == uri


def test_requests_are_no_larger_than_pub_sub_takes(topics: TopicStage, relay: PushRelay) -> None:
    # A run holds less than that in memory, so that the session is asked by itself.
    topics.make()
    topic = Topic(project=PROJECT, topic=topics.name("orders"), endpoint=topics.server.endpoint)
    session = Session(relay.request_loop.loop, relay.settings, topic)
    session.open()
    message = Messages("/outbox", ordering=True).of(LARGE, replayed=False)
    answers: list[Answer] = []

    def put() -> None:
        for _ in range(15):
            session.put(message, time.monotonic() + 60, answers.append)

    relay.request_loop.loop.call_soon_threadsafe(put)
    eventually(lambda: _are(answers, 15))
    assert {one.error for one in answers} == {None}
    seen = topics.server.seen()
    assert sorted(one["messages"] for one in seen) == [5, 10]
    assert max(one["bytes"] for one in seen) <= 10_000_000
    session.close()


def _are(answers: list[Answer], number: int) -> None:
    assert len(answers) == number


def test_a_message_that_the_topic_refuses_is_a_dead_letter_with_the_code(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(refuse="bad")
    topics.connect()
    topics.publish("a:1", b"bad")
    topics.publish("a:2", b"good")
    relay.drain()
    relay.drain()
    assert topics.keys() == ["a:2"]
    ((key, reason, detail),) = topics.dead()
    assert (key, reason) == ("a:1", "INVALID_ARGUMENT")
    assert "does not match the topic's schema" in detail


def test_a_request_that_is_refused_for_one_message_costs_no_other(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(refuse="bad")
    topics.connect(ordering=False)
    for number, data in enumerate((b"1", b"bad", b"3")):
        topics.publish(f"a:{number}", data, group=f"g{number}")
    relay.drain()
    assert sorted(one.data for one in topics.arrived()) == [b"1", b"3"]
    assert [(key, reason) for key, reason, _ in topics.dead()] == [("a:1", "INVALID_ARGUMENT")]
    assert [one["messages"] for one in topics.server.seen()] == [3, 1, 1, 1]


def test_without_a_topic_it_is_that_of_the_channels_name(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.create_topic("orders")
    topics.connect(topic=None, make=False)
    topics.publish("a:1")
    relay.drain()
    assert [one["topic"] for one in topics.server.seen()] == [f"projects/{PROJECT}/topics/orders"]
    assert topics.stage.rows() == []
