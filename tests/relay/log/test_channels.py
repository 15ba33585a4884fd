"""What a subscription takes: its channels, unless paused; and one without a topic waits alone."""

import pytest

from relay.log import channel_cursors
from relay.log.probe import probe
from relay.log.run import Ran
from tests.relay.conftest import Open, OpenRelay
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish, publish_own

PAUSE = "update outbox.subscription set paused = true, paused_reason = 'the test'"
RESUME = "update outbox.subscription set paused = false, paused_reason = null"
CHECKPOINTS = "select count(*) from outbox.checkpoint"
CHANNEL_CURSORS = (
    "select count(*), count(distinct xmin::text) from outbox.cursor where channel is not null"
)
CHANNELS = "select channel from outbox.cursor where channel is not null"
SINCE = "select waiting_since from outbox.cursor where channel is not null"
VERSIONS = "select id, xmin::text, ctid::text from outbox.cursor order by id"
DEAD_LETTERS = "select message_id, channel, reason from outbox.dead_letter order by message_id"
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
    wanted = [publish(db, "a", channel="orders"), publish_own(db, "outbox.live")]
    publish(db, "a", channel="parcels")
    assert relay.drain() == wanted
    assert relay.probe() == []


def test_without_a_filter_all_arrive_but_the_channels_of_the_outbox(
    db: Session, relay: Relay
) -> None:
    before = publish(db, "a", channel="orders")
    publish_own(db, "outbox.live")
    after = [publish(db, "a", channel=name) for name in ("outboxes", "outbox")]
    assert relay.drain() == [before, *after]


def test_a_filter_that_leaves_out_everything_is_passed_with_one_checkpoint(
    db: Session, relay: Relay
) -> None:
    db.execute("update outbox.subscription set channels = '{}'")
    for _ in range(3):
        publish(db, "a")
    before = one(db, CHECKPOINTS)
    assert relay.drain() == []
    assert one(db, CHECKPOINTS) == before + 1


def test_what_went_before_a_missing_topic_comes_once(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
    messages = [publish(db, "a", channel=name) for name in ("orders", "parcels", "orders")]
    (cursor,) = relay.probe()
    ran = relay.run(cursor)
    assert ran is not None
    assert ran.progressed
    relay.sink.missing = set()
    relay.drain()
    assert sorted(relay.sink.ids) == messages


def test_all_channels_without_a_topic_are_set_aside_in_one_run(db: Session, relay: Relay) -> None:
    relay.sink.missing = {f"mistyped-{n}" for n in range(300)}
    for name in sorted(relay.sink.missing):
        publish(db, "a", channel=name)
        publish(db, "a", channel="orders")
    before = one(db, CHECKPOINTS)
    (cursor,) = relay.probe()
    ran = relay.run(cursor)
    assert ran == Ran(progressed=True, exhausted=False)
    assert db.execute(CHANNEL_CURSORS).fetchall() == [(300, 1)]
    (again,) = [found for found in relay.probe() if found.channel is None]
    assert relay.run(again) == Ran(progressed=True)
    assert [one.channel for one in relay.sink.arrivals] == ["orders"] * 300
    # One for each channel cursor, and one for the messages.
    assert one(db, CHECKPOINTS) == before + 301


def test_a_channel_without_a_topic_waits_alone_and_says_why(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
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
    relay.sink.missing = {"parcels"}
    first = [publish(db, f"g{n % 3}", channel="parcels") for n in range(10)]
    relay.drain(limit=3)
    slow.execute("commit")
    others = [publish(db, "b") for _ in range(4)]
    relay.drain(limit=3)
    more = [publish(db, f"g{n % 3}", channel="parcels") for n in range(10)]
    assert [arrived.channel for arrived in relay.sink.arrivals] == ["orders"] * 5
    relay.sink.missing = set()
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
    assert db.execute(WAITING, ["parcels"]).fetchall() == []


def test_a_second_channel_without_a_topic_waits_alone_too(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels", "invoices"}
    names = ("parcels", "invoices", "orders") * 3
    written = [(publish(db, "a", channel=name), name) for name in names]
    relay.drain(limit=2)
    assert {arrived.channel for arrived in relay.sink.arrivals} == {"orders"}
    relay.sink.missing = {"invoices"}
    relay.drain(limit=2)
    assert {arrived.channel for arrived in relay.sink.arrivals} == {"orders", "parcels"}
    relay.sink.missing = set()
    relay.drain(limit=2)
    for channel in ("parcels", "invoices", "orders"):
        ids = [arrived.id for arrived in relay.sink.arrivals if arrived.channel == channel]
        assert ids == [message_id for message_id, name in written if name == channel]


def test_a_forked_channel_and_a_late_commit_of_its_origin_lose_nothing(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """The channel is set apart in the middle of a delta whose late part is not done yet."""
    slow = open_session()
    slow.execute("begin")
    late = [publish(slow, "a", channel=name) for name in ("orders", "parcels", "orders")]
    newer = [publish(db, "b") for _ in range(3)]
    relay.drain()
    slow.execute("commit")
    last = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    relay.sink.missing = {"parcels"}
    relay.drain(limit=1)
    assert relay.sink.ids == [*newer, late[0], late[2], last[1]]
    relay.sink.missing = set()
    relay.drain(limit=1)
    assert relay.sink.ids[-2:] == [late[1], last[0]]
    assert len(relay.sink.ids) == 8


def test_the_run_that_forks_leaves_only_the_fork_behind(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
    publish(db, "a", channel="parcels")
    (cursor,) = relay.probe()
    assert relay.run(cursor) == Ran(progressed=True, exhausted=False)
    (again,) = [found for found in relay.probe() if found.channel is None]
    assert relay.run(again) == Ran(progressed=True, exhausted=True)


def test_channels_that_wait_are_probed_only_where_that_is_asked_for(
    db: Session, relay: Relay
) -> None:
    relay.sink.missing = {"parcels", "invoices"}
    for name in sorted(relay.sink.missing):
        publish(db, "a", channel=name)
    relay.drain()
    assert probe(relay.connection, "test") == []
    assert sorted(str(found.channel) for found in relay.probe()) == ["invoices", "parcels"]


def test_a_channel_that_waits_writes_nothing(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
    publish(db, "a", channel="parcels")
    relay.drain()
    before = db.execute(VERSIONS).fetchall()
    for _ in range(5):
        (channel_cursor,) = relay.probe()
        assert relay.run(channel_cursor) == Ran(blocked=True)
    assert db.execute(VERSIONS).fetchall() == before


def test_since_when_a_channel_waits_stays_what_it_was_through_tries_in_vain(
    db: Session, relay: Relay, open_relay: OpenRelay
) -> None:
    relay.sink.missing = {"parcels"}
    publish(db, "a", channel="parcels")
    relay.drain()
    since = one(db, SINCE)
    # Its topic seems to be there, and refuses what comes: for this relay and for another.
    for tried in (relay, open_relay()):
        tried.sink.missing = {"parcels"}
        unblocked(tried)
        (channel_cursor,) = tried.probe()
        assert tried.run(channel_cursor) == Ran(exhausted=False, blocked=True)
        assert one(db, SINCE) == since


def test_a_new_reason_does_not_renew_since_when_a_channel_waits(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
    publish(db, "a", channel="parcels")
    relay.drain()
    since = one(db, SINCE)
    relay.sink.reason = "TOPIC_AUTHORIZATION_FAILED"
    unblocked(relay)
    (channel_cursor,) = relay.probe()
    relay.run(channel_cursor)
    assert db.execute(WAITING, ["parcels"]).fetchall() == [(True, "TOPIC_AUTHORIZATION_FAILED")]
    assert one(db, SINCE) == since


def test_a_channel_that_has_delivered_something_waits_anew(db: Session, relay: Relay) -> None:
    relay.sink.missing = {"parcels"}
    for _ in range(3):
        publish(db, "a", channel="parcels")
    relay.drain()
    since = one(db, SINCE)
    relay.sink.missing = set()
    (channel_cursor,) = relay.probe()
    relay.run(channel_cursor, limit=1)
    relay.sink.missing = {"parcels"}
    (channel_cursor,) = [found for found in relay.probe() if found.channel]
    assert not channel_cursor.waits
    assert relay.run(channel_cursor) == Ran(exhausted=False, blocked=True)
    assert one(db, SINCE) > since


def unblocked(relay: Relay) -> None:
    """From now on topics seem to be there until a message is tried."""
    relay.sink.looks_missing = lambda _: False


def test_where_too_many_channels_wait_the_rest_become_dead_letters_and_the_others_flow(
    db: Session, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_cursors, "MAX_WAITING", 3)
    relay.sink.missing = {f"mistyped-{n}" for n in range(5)}
    written = {
        publish(db, "a", channel=name): name
        for _ in range(2)
        for name in [*sorted(relay.sink.missing), "orders"]
    }
    relay.drain()
    assert [arrived.channel for arrived in relay.sink.arrivals] == ["orders"] * 2
    assert db.execute(CHANNEL_CURSORS).fetchall() == [(3, 1)]
    dead_letters = db.execute(DEAD_LETTERS).fetchall()
    assert {reason for _, _, reason in dead_letters} == {"TOO_MANY_WAITING_CHANNELS"}
    waits = {channel for (channel,) in db.execute(CHANNELS)}
    expected = [one for one, name in written.items() if name not in waits and name != "orders"]
    assert [message_id for message_id, _, _ in dead_letters] == expected
    # Their topics are made: nothing is lost.
    relay.sink.missing.clear()
    relay.sink.given_up.clear()
    db.execute("select outbox.redrive(array(select id from outbox.dead_letter order by id))")
    relay.drain()
    assert sorted(relay.sink.ids) == sorted(written)


KEY = """
    insert into outbox.api_key (name, hash, scopes, channels)
    values (%s, sha256(gen_random_uuid()::text::bytea), '{publish}', %s) returning id
"""
WAITING_CHANNELS = "select channel from outbox.cursor where waiting_since is not null order by id"


def waiting(db: Session) -> list[str]:
    return [channel for (channel,) in db.execute(WAITING_CHANNELS)]


def make_up(db: Session, relay: Relay, prefix: str, number: int) -> None:
    """So many channels without topics have a message each."""
    names = [f"{prefix}{n:02}" for n in range(number)]
    relay.sink.missing.update(names)
    for name in names:
        publish(db, "a", channel=name)


@pytest.fixture
def twenty_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_cursors, "MAX_WAITING", 20)


@pytest.mark.usefixtures("twenty_may_wait")
@pytest.mark.parametrize("at_once", [True, False], ids=["in one run", "one by one"])
def test_names_that_a_limited_key_makes_up_take_no_room_from_other_channels(
    db: Session, relay: Relay, at_once: bool
) -> None:
    """Whether it is seen in the run in which they come, or in a later one."""
    one(db, KEY, "greedy", ["made-up.*"])
    for batch in range(1 if at_once else 5):
        make_up(db, relay, f"made-up.{batch}", 50 if at_once else 10)
        if not at_once:
            relay.drain()
    relay.sink.missing |= {"parcels", "invoices"}
    for name in ("parcels", "invoices", "orders"):
        publish(db, "a", channel=name)
    relay.drain()
    assert sorted(waiting(db)) == ["invoices", "made-up.000", "made-up.001", "parcels"]
    dead = {channel for _, channel, _ in db.execute(DEAD_LETTERS)}
    assert (len(dead), dead & {"parcels", "invoices"}) == (48, set())
    assert [arrived.channel for arrived in relay.sink.arrivals] == ["orders"]


@pytest.mark.usefixtures("twenty_may_wait")
def test_limited_keys_together_leave_a_tenth_of_the_room_to_the_others(
    db: Session, relay: Relay
) -> None:
    for number in range(12):
        one(db, KEY, f"greedy-{number}", [f"made-up-{number}.*"])
        make_up(db, relay, f"made-up-{number}.", 5)
    relay.drain()
    assert len(waiting(db)) == 18
    make_up(db, relay, "own.", 5)
    relay.drain()
    assert waiting(db)[18:] == ["own.00", "own.01"]


ROOM = "select array(select outbox.channels_with_room(1, %s, %s, 20))"


def room(db: Session, *channels: str, temporary: bool = False) -> list[str]:
    found: list[str] = one(db, ROOM, list(channels), [temporary] * len(channels))
    return found


THREE = ("made-up.1", "made-up.2", "made-up.3")


def test_keys_of_one_name_share_their_room(db: Session) -> None:
    for pattern in ("made-up.1", "made-up.*", "others.*"):
        one(db, KEY, "greedy", [pattern])
    assert room(db, "others.1", *THREE) == ["others.1", "made-up.1"]


def test_a_key_that_is_over_counts_as_long_as_the_log_may_hold_what_it_wrote(db: Session) -> None:
    """Else what it published just before is nobody's, and takes all the room."""
    over = one(db, KEY, "greedy", ["made-up.*"])
    assert room(db, *THREE) == ["made-up.1", "made-up.2"]
    db.execute("update outbox.api_key set revoked_at = clock_timestamp() where id = %s", [over])
    assert room(db, *THREE) == ["made-up.1", "made-up.2"]
    db.execute("update outbox.known_partition set from_time = clock_timestamp()")
    assert room(db, *THREE) == [*THREE]


def test_channels_that_wait_for_brokers_are_bounded_by_the_whole_room_alone(db: Session) -> None:
    """Else all channels would wait once those of one key do."""
    one(db, KEY, "greedy", ["made-up.*"])
    names = [f"made-up.{number}" for number in range(25)]
    assert room(db, *names, temporary=True) == names[:20]
