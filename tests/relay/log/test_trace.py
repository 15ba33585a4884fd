"""outbox.trace tells the truth of a real relay's runs, whatever order the log commits in."""

from random import Random

from tests.relay.conftest import Open, OpenRelay
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish

STATES = """
    select m.id, traced.state from outbox.message as m
    cross join lateral outbox.trace(m.id) as traced
    where traced.subscription = %s
"""
RUN = "select passed ->> 'relay' from outbox.trace(%s) where subscription = 'kafka'"
AHEAD = """
    select m.id from outbox.message as m
    cross join lateral outbox.trace(m.id) as traced
    where traced.subscription = 'kafka' and traced.state = 'waiting'
    order by (traced.queue ->> 'ahead')::integer
"""
SHARDED = "insert into outbox.subscription (name, shards) values ('wide', 3)"


def delivered(db: Session, name: str) -> set[int]:
    """The ids of those that are told to be delivered; all others are waiting."""
    states: dict[int, str] = dict(db.execute(STATES, [name]).fetchall())
    assert set(states.values()) <= {"delivered", "waiting"}
    return {message_id for message_id, state in states.items() if state == "delivered"}


def arrived(relay: Relay) -> set[int]:
    """What a relay has sent; each has runs of one subscription alone."""
    return set(relay.sink.ids)


def test_delivered_is_what_has_arrived_while_transactions_end_in_any_order(
    db: Session, open_session: Open, open_relay: OpenRelay
) -> None:
    db.execute(SHARDED)
    wide = one(db, "select id from outbox.subscription where name = 'wide'")
    relays = {"kafka": (open_relay(), 1), "wide": (open_relay(), wide)}
    random, writers = Random(7), [open_session() for _ in range(3)]
    writing: set[int] = set()
    for _ in range(90):
        number = random.randrange(len(writers))
        writer = writers[number]
        if number in writing and random.random() < 0.5:
            writer.execute("rollback" if random.random() < 0.2 else "commit")
            writing.remove(number)
        else:
            if number not in writing:
                writer.execute("begin")
                writing.add(number)
            publish(writer, f"g{random.randrange(5)}", priority=random.choice((1, 3)))
        if random.random() < 0.6:
            name = random.choice(("kafka", "wide"))
            relay, subscription_id = relays[name]
            for cursor in relay.probe(subscription_id)[:1]:
                relay.run(cursor, limit=2)
            assert delivered(db, name) == arrived(relay)
    for number in writing:
        writers[number].execute("commit")
    for name, (relay, _) in relays.items():
        assert delivered(db, name) == arrived(relay)
        assert len(arrived(relay)) > 5


def test_delivered_names_the_relay_that_did_it(db: Session, open_relay: OpenRelay) -> None:
    relays = [open_relay(), open_relay()]
    for number in range(8):
        publish(db)
        relay = relays[number % 2]
        for cursor in relay.probe(1):
            relay.run(cursor)
    for relay in relays:
        assert len(relay.sink.ids) == 4
        for message_id in relay.sink.ids:
            assert one(db, RUN, message_id) == relay.settings.name


def test_what_is_ahead_is_the_order_in_which_messages_then_arrive(
    db: Session, open_session: Open, relay: Relay
) -> None:
    late, later = open_session(), open_session()
    with later.transaction():
        publish(later)
        with late.transaction():
            publish(late)
            for _ in range(3):
                publish(db)
            (cursor,) = relay.probe(1)
            relay.run(cursor, limit=1)
            publish(late)
        publish(db)
    told = [message_id for (message_id,) in db.execute(AHEAD).fetchall()]
    before = len(relay.sink.ids)
    while cursors := relay.probe(1):
        relay.run(cursors[0])
    assert relay.sink.ids[before:] == told
    assert len(told) == 6
