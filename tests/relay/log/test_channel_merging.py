"""A channel that waited and has caught up is merged back: nothing lost, repeated or inverted."""

import random
from collections import Counter, defaultdict

import pytest

from relay.log.run import Ran
from tests.relay.conftest import Open, OpenRelay
from tests.relay.recording import Arrival, RecordingSink, Relay
from tests.sql.log import Session, one, publish

CHANNELS = "select channel from outbox.cursor where channel is not null order by channel"
REDRIVE = "select outbox.redrive(array(select id from outbox.dead_letter))"
DEAD_LETTERS = """
    select l.message_id, c.channel, l.redriven_at is not null
    from outbox.dead_letter l join outbox.cursor c on c.id = l.cursor_id
    order by l.message_id
"""


def channel_cursors(db: Session) -> list[str]:
    """The channels that have a cursor of their own."""
    return [channel for (channel,) in db.execute(CHANNELS)]


def wait_and_return(db: Session, relay: Relay, messages: int = 2) -> list[int]:
    """Makes `parcels` wait with so many messages; then its topic is there."""
    relay.sink.missing = {"parcels"}
    written = [publish(db, "a", channel="parcels") for _ in range(messages)]
    relay.drain()
    relay.sink.missing = set()
    return written


def test_a_channel_that_has_caught_up_is_merged_back(db: Session, relay: Relay) -> None:
    written = wait_and_return(db, relay)
    assert channel_cursors(db) == ["parcels"]
    relay.drain()
    assert channel_cursors(db) == []
    written += [publish(db, "a", channel=name) for name in ("parcels", "orders", "parcels")]
    relay.drain()
    assert relay.sink.ids == written
    assert relay.probe() == []


def test_it_is_merged_in_a_stream_of_messages_too(db: Session, relay: Relay) -> None:
    """Its origin has moved on by the time that it catches up, again and again."""
    written = wait_and_return(db, relay)
    for _ in range(5):
        written += [publish(db, "a", channel=name) for name in ("parcels", "orders")]
        for cursor in relay.probe():
            relay.run(cursor)
    assert channel_cursors(db) == []
    relay.drain()
    assert sorted(relay.sink.ids) == written
    parcels = [found.id for found in relay.sink.arrivals if found.channel == "parcels"]
    assert parcels == sorted(parcels)


def test_while_many_channels_are_merged_the_others_go_on(db: Session, relay: Relay) -> None:
    """Dropped at once, and each comes to where the cursor of all others stands in another run."""
    names = [f"mistyped-{number:02}" for number in range(30)]
    relay.sink.missing = set(names)
    for name in names:
        publish(db, "a", channel=name)
    relay.drain()
    for name in names:
        db.execute("select outbox.drop_channel(%s)", [name])
    published, turns = 0, 0
    while channel_cursors(db):
        publish(db, "a", channel="orders")
        published += 1
        found = relay.probe()
        # As the rounds have it: the others' cursor, and one channel cursor.
        for of_channel in (False, True):
            turn = [cursor for cursor in found if (cursor.channel is not None) is of_channel]
            for cursor in turn[:1]:
                relay.run(cursor)
        # A run that merges sends nothing, so it is the next one that does.
        assert published - len(relay.sink.ids) <= 1
        turns += 1
        assert turns < 5 * len(names)
    relay.drain()
    assert len(relay.sink.ids) == published


def test_a_late_commit_that_both_have_passed_is_the_merged_cursors(
    open_session: Open, db: Session, relay: Relay
) -> None:
    slow = open_session()
    slow.execute("begin")
    late = [publish(slow, "a", channel=name) for name in ("parcels", "orders")]
    written = wait_and_return(db, relay)
    relay.drain()
    assert channel_cursors(db) == []
    slow.execute("commit")
    relay.drain()
    assert relay.sink.ids == [*written, *late]


def test_a_fork_stays_while_its_origin_is_in_the_middle_of_a_delta(
    db: Session, relay: Relay
) -> None:
    written = wait_and_return(db, relay)
    for _ in range(4):
        written.append(publish(db, "a", channel="orders"))
    (origin,) = [cursor for cursor in relay.probe() if cursor.channel is None]
    relay.run(origin, limit=1)
    for _ in range(3):
        for cursor in relay.probe():
            if cursor.channel is not None:
                relay.run(cursor)
    assert channel_cursors(db) == ["parcels"]
    # It has come to where its origin is going, and has nothing to do until then.
    assert [cursor.channel for cursor in relay.probe()] == [None]
    relay.drain()
    assert channel_cursors(db) == []
    assert sorted(relay.sink.ids) == written


def test_the_merge_waits_for_the_holder_of_either_cursor(
    open_session: Open, db: Session, relay: Relay
) -> None:
    wait_and_return(db, relay)
    (channel_cursor,) = [cursor for cursor in relay.probe() if cursor.channel]
    relay.run(channel_cursor)
    other = open_session()
    for held in ("is null", "is not null"):
        other.execute("begin")
        other.execute(f"select from outbox.cursor where channel {held} for no key update".encode())
        for cursor in relay.probe():
            relay.run(cursor)
        assert channel_cursors(db) == ["parcels"]
        other.execute("rollback")
    relay.drain()
    assert channel_cursors(db) == []


def test_dead_letters_of_a_merged_channel_are_redriven_once_and_in_order(
    db: Session, relay: Relay
) -> None:
    written = wait_and_return(db, relay, messages=3)
    relay.sink.refuses = lambda _: True
    relay.drain()
    relay.sink.refuses = lambda _: False
    assert channel_cursors(db) == []
    assert db.execute(DEAD_LETTERS).fetchall() == [(one, None, False) for one in written]
    assert one(db, REDRIVE) == 3
    assert one(db, REDRIVE) == 0
    relay.drain()
    assert relay.sink.ids == written


def test_a_fork_with_redriven_dead_letters_on_their_way_is_merged_after_them(
    db: Session, relay: Relay
) -> None:
    written = wait_and_return(db, relay, messages=2)
    relay.sink.refuses = lambda _: True
    (channel_cursor,) = [cursor for cursor in relay.probe() if cursor.channel]
    relay.run(channel_cursor)
    assert one(db, REDRIVE) == 2
    assert [cursor.channel for cursor in relay.probe()] == ["parcels"], "nothing to merge yet"
    relay.sink.refuses = lambda _: False
    relay.drain()
    assert channel_cursors(db) == []
    assert relay.sink.ids == written


def test_a_redrive_that_is_under_way_is_not_lost_in_the_merge(
    open_session: Open, db: Session, relay: Relay
) -> None:
    written = wait_and_return(db, relay, messages=2)
    relay.sink.refuses = lambda _: True
    (channel_cursor,) = [cursor for cursor in relay.probe() if cursor.channel]
    relay.run(channel_cursor)
    operator = open_session()
    operator.execute("begin")
    assert one(operator, REDRIVE) == 2
    relay.sink.refuses = lambda _: False
    for cursor in relay.probe():
        relay.run(cursor)
    assert channel_cursors(db) == ["parcels"]
    operator.execute("commit")
    relay.drain()
    assert relay.sink.ids == written
    assert channel_cursors(db) == []


def test_a_message_that_both_gave_up_after_a_replay_has_one_dead_letter(
    db: Session, relay: Relay
) -> None:
    message = publish(db, "a", channel="parcels")
    relay.sink.refuses = lambda found: found.channel == "parcels"
    relay.drain()
    written = wait_and_return(db, relay)
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [message])
    relay.drain()
    # Its origin had nothing to repeat, and comes to where it is with the next message.
    publish(db, "a", channel="orders")
    relay.drain()
    assert channel_cursors(db) == []
    assert [row[:2] for row in db.execute(DEAD_LETTERS)] == [
        (one, None) for one in [message, *written]
    ]


def test_a_replay_of_a_channel_that_waits_sends_all_of_it(db: Session, relay: Relay) -> None:
    first = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    relay.drain()
    waited = wait_and_return(db, relay)
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [first[0]])
    relay.drain()
    publish(db, "a", channel="orders")
    relay.drain()
    times = Counter(relay.sink.ids)
    assert [times[message] for message in [*first, *waited]] == [2, 2, 1, 1]
    assert channel_cursors(db) == []


GROUPS = ("a", "b", "c")
NAMES = ("orders", "parcels", "invoices")


class Writer:
    """A session that publishes for groups whose rows it locks, and commits when it likes."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.open = False
        self.written: list[tuple[int, str, str]] = []

    def step(self, chance: random.Random, free: set[str]) -> list[tuple[int, str, str]]:
        """Publishes, or ends its transaction; returns what has committed by that."""
        if not self.open:
            self.session.execute("begin")
            self.open = True
        elif chance.random() < 0.4:
            commits = chance.random() < 0.85
            self.session.execute("commit" if commits else "rollback")
            self.open, written, self.written = False, self.written, []
            free.update(group for _, _, group in written)
            return written if commits else []
        mine = {group for _, _, group in self.written}
        groups = sorted(mine | free)
        if groups:
            group, channel = chance.choice(groups), chance.choice(NAMES)
            free.discard(group)
            message = publish(self.session, group, channel=channel)
            self.written.append((message, channel, group))
        return []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_topics_that_come_and_go_lose_repeat_and_invert_nothing(
    open_session: Open, db: Session, open_relay: OpenRelay, database_url: str, seed: int
) -> None:
    """Three writers that commit late, two relays, short runs, topics that flap."""
    chance = random.Random(seed)
    arrivals: list[Arrival] = []
    sinks = [RecordingSink(arrivals), RecordingSink(arrivals)]
    relays = [open_relay(sink) for sink in sinks]
    writers = [Writer(open_session()) for _ in range(3)]
    free, committed = set(GROUPS), list[tuple[int, str, str]]()
    merged, apart = 0, set[str]()
    for _ in range(250):
        committed += chance.choice(writers).step(chance, free)
        if chance.random() < 0.1:
            missing = {name for name in NAMES if chance.random() < 0.4}
            for sink in sinks:
                sink.missing = missing
        relay = chance.choice(relays)
        cursors = relay.probe()
        if cursors and chance.random() < 0.7:
            relay.run(chance.choice(cursors), limit=chance.choice((1, 2, 100)))
        now = set(channel_cursors(db))
        merged += len(apart - now)
        apart = now
    for writer in writers:
        if writer.open:
            writer.session.execute("commit")
            committed += writer.written
    for sink in sinks:
        sink.missing = set()
    for relay in relays * 2:
        relay.drain()
    assert merged > 0, "nothing was merged on the way"
    assert channel_cursors(db) == []
    assert sorted(found.id for found in arrivals) == sorted(id for id, _, _ in committed)
    by_group = defaultdict[tuple[str, str | None], list[int]](list)
    for found in arrivals:
        by_group[found.channel, found.group_key].append(found.id)
    for ids in by_group.values():
        # A group's row was locked until the commit, so its ids rise in the order of its commits.
        assert ids == sorted(ids)


def test_a_relay_may_merge_by_the_function_alone(db: Session, relay: Relay) -> None:
    role = "select has_table_privilege('outbox_relay', 'outbox.cursor', 'delete')"
    assert one(db, role) is False
    function = """
        select has_function_privilege(
            'outbox_relay', 'outbox.merge_channel_cursors(bigint)', 'execute')
    """
    assert one(db, function) is True


def test_a_fork_that_waits_is_never_merged(db: Session, relay: Relay) -> None:
    wait_and_return(db, relay)
    relay.sink.missing = {"parcels"}
    (origin,) = db.execute("select id from outbox.cursor where channel is null and priority = 3")
    assert one(db, f"select outbox.merge_channel_cursors({origin[0]})") == []
    assert channel_cursors(db) == ["parcels"]
    relay.sink.missing = set()
    assert Ran(progressed=True) in [relay.run(cursor) for cursor in relay.probe()]
