"""What went round, or would: by settings, by what a relay sees, by the path of a record."""

import pytest
from psycopg.errors import CheckViolation
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


OTHER = "9d2f7c3e-0000-4000-8000-000000000002"


def test_a_loop_that_can_be_seen_stops_it(inward: InwardStage) -> None:
    topic = inward.topic("shop")
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.relay()
    inward.stops("it would go round", "kafka", topic)


def test_what_has_passed_this_installation_is_counted_and_left_out(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    came_back = [("outbox-path", f"{OTHER}, {inward.installation}".encode())]
    inward.produce(topic, [(b"k", b"1")])
    inward.produce(topic, [(b"k", b"2")], headers=came_back)
    inward.produce(topic, [(b"k", b"3")], headers=[("outbox-path", OTHER.encode())])
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    first, third = inward.all_entered(2)
    assert (first.payload, third.payload) == (b"1", b"3")
    assert third.headers["outbox-path"] == f"{OTHER},{inward.installation}"
    state = inward.state()
    assert (state["entered"], state["passed"], state["lag"]) == (2, 1, 0)


def test_what_came_in_says_so_where_it_goes_out(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.create_topic("shop")
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.produce(topic, [(b"k", b"1")])
    inward.relay()

    def there() -> None:
        paths = [dict(one.headers)["outbox-path"].decode() for one in inward.arrivals("shop")]
        assert paths == [inward.installation]

    eventually(there, 30)


def test_what_was_published_here_does_not_come_back_by_way_of_another_installation(
    inward: InwardStage,
) -> None:
    """It goes out with the path of this one, since something comes in here."""
    topic = inward.topic("there", partitions=1)
    inward.create_topic("orders", partitions=1)
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.relay()
    inward.produce(topic, [(b"k", b"came in")])
    inward.all_entered(1)
    inward.publish(1, "orders")

    def gone_out() -> list[tuple[str, bytes | None]]:
        arrived = inward.arrivals("orders")
        assert len(arrived) == 1
        return list(arrived[0].headers)

    headers = eventually(gone_out, 30)
    assert dict(headers)["outbox-path"] == inward.installation.encode()
    # As another installation would write it to where this one reads.
    inward.produce(topic, [(b"k", b"of this one")], headers=headers)
    inward.produce(topic, [(b"k", b"of another")])
    assert [one.payload for one in inward.all_entered(2)] == [b"came in", b"of another"]
    assert inward.state()["passed"] == 1


def test_where_nothing_comes_in_no_message_has_a_path(inward: InwardStage) -> None:
    inward.create_topic("orders", partitions=1)
    inward.execute("update outbox.subscription set paused = false")
    inward.publish(1, "orders")
    assert inward.relay("--once").wait(60) == 0
    [one] = inward.arrivals("orders")
    assert "outbox-path" not in dict(one.headers)


def test_a_loop_that_settings_show_is_refused_from_both_sides(inward: InwardStage) -> None:
    config = {"brokers": "kafka.example.com:9092", "topic": "shop.orders"}
    inward.take_in("shop.orders", "shop", brokers=config["brokers"])
    connect = "select outbox.connect('out', %s, 'kafka', %s)"
    with pytest.raises(CheckViolation, match=r"settings\.topic leads round"):
        inward.execute(connect, "shop", Jsonb(config))
    inward.execute(connect, "other", Jsonb(config))
    with pytest.raises(CheckViolation, match=r"settings\.topic leads round"):
        inward.take_in("shop.orders", "other", brokers=config["brokers"])
