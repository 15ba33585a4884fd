"""A delta goes from one partition of the log into the next one, however far apart their ids are."""

from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish, turn

# A few of each delta; span by span there would be millions.
RUNS = "select count(*) from outbox.checkpoint where relay <> ''"
MAX_RUNS = 6


def test_a_backlog_goes_over_a_turn(db: Session, relay: Relay) -> None:
    messages = [publish(db), publish(db)]
    turn(db)
    messages += [publish(db), publish(db)]
    turn(db)
    messages.append(publish(db))
    assert relay.drain() == messages
    assert one(db, RUNS) <= MAX_RUNS


def test_a_transaction_that_was_open_at_the_turn_is_read_in_order(
    db: Session, relay: Relay, open_session: Open
) -> None:
    slow = open_session()
    with slow.transaction():
        late = [publish(slow, "late")]
        turn(db)
        early = publish(db)
        assert relay.drain() == [early]
        late.append(publish(slow, "late"))
    turn(db)
    last = publish(db)
    assert relay.drain() == [*late, last]
    assert one(db, RUNS) <= MAX_RUNS


def test_a_replay_goes_over_a_turn(db: Session, relay: Relay) -> None:
    messages = [publish(db)]
    turn(db)
    messages.append(publish(db))
    assert relay.drain() == messages
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [messages[0]])
    assert relay.drain() == messages
    assert one(db, RUNS) <= MAX_RUNS


def test_a_filter_that_leaves_all_out_goes_over_a_turn(db: Session, relay: Relay) -> None:
    db.execute("update outbox.subscription set channels = '{parcels}'")
    for _ in range(3):
        publish(db)
        turn(db)
    wanted = publish(db, channel="parcels")
    assert relay.drain() == [wanted]
    assert one(db, RUNS) <= MAX_RUNS
