"""What a message looks like when it has arrived in Kafka."""

from datetime import datetime

from tests.relay.stage import Stage, values
from tests.topic_reader import Arrival, by_key

pytest_plugins = ["tests.relay.stage_fixtures"]

PUBLISH = "select outbox.publish_bytes('orders', %s, %s, %s, group_key => %s, headers => %s)"

# From the unit tests of Apache Kafka's Java client: the murmur2 hash of each key.
JAVA_MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def deliver(
    stage: Stage,
    *,
    type: str = "order.paid",
    content_type: str = "application/json",
    group_key: str = "g",
    headers: str | None = None,
) -> Arrival:
    """Publishes one message and returns it as it arrived."""
    stage.execute(PUBLISH, type, b"{}", content_type, group_key, headers)
    stage.create_topic("orders", partitions=1)
    assert stage.relay("--once").wait(30) == 0
    (arrival,) = stage.arrivals("orders")
    return arrival


def test_a_payload_arrives_byte_for_byte(stage: Stage) -> None:
    unicode = "Größe 😀 \u2028".encode()
    largest = b"x" * (983_040 - len("g"))
    payloads = [b"", b"\x00\xff\xfe\x00" * 1000, b'{"a" :  1.0, "a": 2}', unicode, largest]
    with stage.database() as connection:
        for payload in payloads:
            connection.execute(PUBLISH, ("event", payload, "text/plain", "g", None))
    stage.create_topic("orders")
    assert stage.relay("--once").wait(30) == 0
    assert values(stage.arrivals("orders")) == payloads


def test_headers_are_cloudevents_in_kafkas_binary_mode_then_the_messages_own(stage: Stage) -> None:
    own = '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'
    arrival = deliver(stage, content_type="text/plain; charset=utf-8", headers=own)
    ((key, created_at),) = stage.query("select idempotency_key, created_at from outbox.message")
    headers = dict(arrival.headers)
    assert len(headers) == len(arrival.headers)
    time = datetime.fromisoformat(headers.pop("ce_time").decode())
    assert time == created_at
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": key.encode(),
        "ce_type": b"order.paid",
        "ce_source": b"/outbox",
        "content-type": b"text/plain; charset=utf-8",
        "idempotency-key": key.encode(),
        "traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }


def test_the_callers_idempotency_key_travels_with_the_message(stage: Stage) -> None:
    stage.execute("select outbox.publish('orders', 'event', '{}', idempotency_key => 'order-17')")
    stage.create_topic("orders")
    assert stage.relay("--once").wait(30) == 0
    (arrival,) = stage.arrivals("orders")
    assert arrival.idempotency_key == "order-17"


def test_unicode_arrives_in_key_type_and_headers(stage: Stage) -> None:
    arrival = deliver(
        stage, type="bestellung.größer", group_key="schlüssel 😀", headers='{"a": "ü"}'
    )
    assert arrival.key == "schlüssel 😀".encode()
    headers = dict(arrival.headers)
    assert headers["ce_type"] == "bestellung.größer".encode()
    assert headers["a"] == "ü".encode()


def test_no_group_is_no_key_and_an_empty_one_is_an_empty_key(stage: Stage) -> None:
    with stage.database() as connection:
        for group_key in (None, "", "g"):
            connection.execute(PUBLISH, ("event", b"", "text/plain", group_key, None))
    stage.create_topic("orders", partitions=1)
    assert stage.relay("--once").wait(30) == 0
    assert [arrival.key for arrival in stage.arrivals("orders")] == [None, b"", b"g"]


def test_a_key_lands_on_the_partition_where_java_puts_it(stage: Stage) -> None:
    with stage.database() as connection:
        for key in JAVA_MURMUR2:
            connection.execute(PUBLISH, ("event", b"", "text/plain", key, None))
    stage.create_topic("orders", partitions=7)
    assert stage.relay("--once").wait(30) == 0
    landed = {arrival.key: arrival.partition for arrival in stage.arrivals("orders")}
    # The Java client's default: toPositive(murmur2(key)) modulo the number of partitions.
    expected = {key.encode(): (hash & 0x7FFFFFFF) % 7 for key, hash in JAVA_MURMUR2.items()}
    assert landed == expected


def test_each_group_arrives_once_in_order_whatever_its_partition(stage: Stage) -> None:
    stage.publish(5_000, "orders", groups=100)
    stage.create_topic("orders", partitions=8)
    assert stage.relay("--once").wait(60) == 0
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 0
    arrivals = stage.arrivals("orders")
    assert len(by_key(arrivals)) == 100
    assert len({arrival.partition for arrival in arrivals}) == 8


def test_a_channel_goes_to_the_topic_of_its_name_behind_the_prefix(stage: Stage) -> None:
    stage.publish(3, "orders.paid")
    stage.publish(2, "orders_paid-2")
    assert stage.create_topic("orders.paid") == stage.topic_prefix + "orders.paid"
    stage.create_topic("orders_paid-2")
    assert stage.relay("--once").wait(30) == 0
    assert [len(stage.arrivals(channel)) for channel in ("orders.paid", "orders_paid-2")] == [3, 2]


def test_a_full_producer_queue_is_waited_for(stage: Stage) -> None:
    stage.publish(2_000, "orders")
    stage.create_topic("orders")
    assert stage.relay("--once", KAFKA_QUEUE_BUFFERING_MAX_MESSAGES="50").wait(60) == 0
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 0
