"""What a subscription takes: its channels, unless paused; and one without a topic waits alone."""

from relay.run import Ran
from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish

PAUSE = "update outbox.subscription set paused = true, paused_reason = 'the test'"
RESUME = "update outbox.subscription set paused = false, paused_reason = null"
CHECKPOINTS = "select count(*) from outbox.checkpoint"
WAITING = "select waiting_since is not null, waiting_reason from outbox.cursor where channel = %s"


def test_a_paused_subscription_holds_and_a_resumed_one_delivers_all_in_order(
    db: Session, relay: Relay
) -> None:
    before = [publish(db, "a") for _ in range(5)]
    (cursor,) = relay.probe()
    relay.run(cursor, limit=2)
    db.execute(PAUSE)
    after = [publish(db, "a") for _ in range(5)]
    assert relay.drain() == []
    assert relay.run(cursor) is None
    db.execute(RESUME)
    relay.drain(limit=3)
    assert relay.sink.ids == before + after


def test_only_the_channels_of_the_filter_arrive(db: Session, relay: Relay) -> None:
    db.execute("update outbox.subscription set channels = '{orders,outbox.live}'")
    written = [publish(db, "a", channel=name) for name in ("orders", "parcels", "outbox.live")]
    assert relay.drain() == [written[0], written[2]]
    assert relay.probe() == []


def test_without_a_filter_all_arrive_but_the_channels_of_the_outbox(
    db: Session, relay: Relay
) -> None:
    names = ("orders", "outbox.live", "outboxes", "outbox")
    written = [publish(db, "a", channel=name) for name in names]
    assert relay.drain() == [written[0], *written[2:]]


def test_a_filter_that_leaves_out_everything_is_passed_with_one_checkpoint(
    db: Session, relay: Relay
) -> None:
    db.execute("update outbox.subscription set channels = '{}'")
    for _ in range(3):
        publish(db, "a")
    before = one(db, CHECKPOINTS)
    assert relay.drain() == []
    assert one(db, CHECKPOINTS) == before + 1


def test_a_topic_missing_for_a_moment_writes_nothing_and_holds_up_what_is_behind(
    db: Session, relay: Relay
) -> None:
    relay.sink.missing = {"parcels": False}
    messages = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    before = one(db, CHECKPOINTS)
    (cursor,) = relay.probe()
    ran = relay.run(cursor)
    assert ran is not None
    assert ran.blocked
    assert not ran.progressed
    assert one(db, CHECKPOINTS) == before
    relay.sink.missing = {}
    assert relay.drain() == messages


def test_what_went_before_a_missing_topic_is_checkpointed(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels": False}
    messages = [publish(db, "a", channel=name) for name in ("orders", "parcels", "orders")]
    (cursor,) = relay.probe()
    ran = relay.run(cursor)
    assert ran is not None
    assert ran.progressed
    relay.sink.missing = {}
    relay.drain()
    assert relay.sink.ids == messages


def test_a_channel_without_a_topic_waits_alone_and_says_why(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels": True}
    for name in ("orders", "parcels", "orders"):
        publish(db, "a", channel=name)
    relay.drain()
    publish(db, "a", channel="parcels")
    publish(db, "a", channel="orders")
    relay.drain()
    assert [arrived.channel for arrived in relay.sink.arrivals] == ["orders"] * 3
    assert db.execute(WAITING, ["parcels"]).fetchall() == [(True, "UNKNOWN_TOPIC_OR_PART")]


def test_when_its_topic_is_there_the_channel_catches_up_once_and_in_order(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """Late commits among them, and messages of before, during and after the wait."""
    slow = open_session()
    slow.execute("begin")
    late = publish(slow, "a", channel="parcels")
    publish(db, "b")
    relay.drain()
    relay.sink.missing = {"parcels": True}
    first = [publish(db, f"g{n % 3}", channel="parcels") for n in range(10)]
    relay.drain(limit=3)
    slow.execute("commit")
    others = [publish(db, "b") for _ in range(4)]
    relay.drain(limit=3)
    more = [publish(db, f"g{n % 3}", channel="parcels") for n in range(10)]
    assert [arrived.channel for arrived in relay.sink.arrivals] == ["orders"] * 5
    relay.sink.missing = {}
    relay.drain(limit=3)
    last = publish(db, "a", channel="parcels")
    relay.drain()
    parcels = [arrived for arrived in relay.sink.arrivals if arrived.channel == "parcels"]
    assert sorted(arrived.id for arrived in parcels) == sorted([late, *first, *more, last])
    for group in ("g0", "g1", "g2", "a"):
        ids = [arrived.id for arrived in parcels if arrived.group_key == group]
        assert ids == sorted(ids)
    assert [arrived.id for arrived in relay.sink.arrivals if arrived.channel == "orders"][
        1:
    ] == others
    assert db.execute(WAITING, ["parcels"]).fetchall() == [(False, None)]


def test_a_second_channel_without_a_topic_waits_alone_too(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels": True, "invoices": True}
    names = ("parcels", "invoices", "orders") * 3
    written = [(publish(db, "a", channel=name), name) for name in names]
    relay.drain(limit=2)
    assert {arrived.channel for arrived in relay.sink.arrivals} == {"orders"}
    relay.sink.missing = {"invoices": True}
    relay.drain(limit=2)
    assert {arrived.channel for arrived in relay.sink.arrivals} == {"orders", "parcels"}
    relay.sink.missing = {}
    relay.drain(limit=2)
    for channel in ("parcels", "invoices", "orders"):
        ids = [arrived.id for arrived in relay.sink.arrivals if arrived.channel == channel]
        assert ids == [message_id for message_id, name in written if name == channel]


def test_a_forked_channel_and_a_late_commit_of_its_origin_lose_nothing(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """The fork happens in the middle of a delta whose late part is not done yet."""
    slow = open_session()
    slow.execute("begin")
    late = [publish(slow, "a", channel=name) for name in ("orders", "parcels", "orders")]
    newer = [publish(db, "b") for _ in range(3)]
    relay.drain()
    slow.execute("commit")
    last = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    relay.sink.missing = {"parcels": True}
    relay.drain(limit=1)
    assert relay.sink.ids == [*newer, late[0], late[2], last[1]]
    relay.sink.missing = {}
    relay.drain(limit=1)
    assert relay.sink.ids[-2:] == [late[1], last[0]]
    assert len(relay.sink.ids) == 8


def test_the_run_that_forks_leaves_only_the_fork_behind(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels": True}
    publish(db, "a", channel="parcels")
    (cursor,) = relay.probe()
    ran = relay.run(cursor)
    assert ran is not None
    assert (ran.progressed, ran.blocked) == (True, True)
    (again,) = [found for found in relay.probe() if found.channel is None]
    assert relay.run(again) == Ran(progressed=True, exhausted=True)
