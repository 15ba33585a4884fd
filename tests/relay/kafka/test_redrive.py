"""A message that can never go is kept whole; sent again it comes once, and in order."""

from typing import Any

import pytest

from relay.log.sink import SinkAway
from tests.relay.recording import Arrival, Relay
from tests.sql.log import Session, one, publish

REDRIVE_ALL = "select outbox.redrive(array(select id from outbox.dead_letter))"
REDRIVE = "select outbox.redrive(array[(select id from outbox.dead_letter where message_id = %s)])"
DEAD_LETTERS = """
    select message_id, reason, attempts, redriven_at is not null, delivered_at is not null
    from outbox.dead_letter order by message_id
"""
FROM_LOG = """
    select priority, channel, type, group_key, idempotency_key, headers, content_type, payload,
           created_at
    from outbox.message where id = %s
"""
FROM_DEAD_LETTER = """
    select priority, channel, type, group_key, idempotency_key, headers, content_type, payload,
           created_at
    from outbox.dead_letter where message_id = %s
"""
PUBLISH_WHOLE = """
    select outbox.publish_bytes('orders', 'order.paid', '\\x00ff', 'application/octet-stream',
                                'größe', 1, 'a-key', '{"traceparent": "00-1"}')
"""


def dead_letters(db: Session) -> list[tuple[Any, ...]]:
    """(message, reason, attempts, redriven, delivered) of each."""
    return db.execute(DEAD_LETTERS).fetchall()


def refuse(relay: Relay, *message_ids: int) -> None:
    relay.sink.refuses = lambda message: message.id in message_ids


def test_a_dead_letter_is_a_whole_copy_of_its_message(db: Session, relay: Relay) -> None:
    message = one(db, PUBLISH_WHOLE)
    refuse(relay, message)
    relay.drain()
    (written,) = db.execute(FROM_LOG, [message])
    (kept,) = db.execute(FROM_DEAD_LETTER, [message])
    assert kept == written
    assert dead_letters(db) == [(message, "MSG_SIZE_TOO_LARGE", 1, False, False)]


def test_its_neighbours_arrive_once_and_the_checkpoint_passes_it(db: Session, relay: Relay) -> None:
    messages = [publish(db, "a") for _ in range(5)]
    refuse(relay, messages[2])
    relay.drain(limit=2)
    assert relay.sink.ids == messages[:2] + messages[3:]
    assert relay.probe() == []


def test_dead_letters_sent_again_arrive_once_in_the_order_of_the_log(
    db: Session, relay: Relay
) -> None:
    messages = [publish(db, f"g{n % 2}") for n in range(6)]
    refuse(relay, *messages[:4])
    relay.drain()
    keys = {row[0]: row[1] for row in db.execute("select id, idempotency_key from outbox.message")}
    refuse(relay)
    for message in reversed(messages[:4]):
        db.execute(REDRIVE, [message])
    assert relay.drain() == messages[:4]
    assert relay.drain() == []
    assert all(keys[arrived.id] == arrived.idempotency_key for arrived in relay.sink.arrivals)
    assert [dead_letter[2:] for dead_letter in dead_letters(db)] == [(2, True, True)] * 4


WAITS = "select waiting_since is not null from outbox.subscription"


def test_dead_letters_that_arrive_take_back_what_its_subscription_says_it_waits_for(
    db: Session, relay: Relay
) -> None:
    refuse(relay, publish(db))
    relay.drain()
    db.execute("select outbox.note_waiting(id, 'the brokers are away') from outbox.subscription")
    db.execute(REDRIVE_ALL)
    # Nothing of them has arrived yet.
    assert one(db, WAITS)
    refuse(relay)
    relay.drain()
    assert not one(db, WAITS)


def test_a_second_redrive_of_the_same_dead_letters_adds_nothing(db: Session, relay: Relay) -> None:
    messages = [publish(db, "a") for _ in range(3)]
    refuse(relay, *messages)
    relay.drain()
    refuse(relay)
    assert one(db, REDRIVE_ALL) == 3
    assert one(db, REDRIVE_ALL) == 0
    assert relay.drain() == messages
    assert one(db, REDRIVE_ALL) == 0
    assert relay.drain() == []


def test_a_dead_letter_that_dies_again_counts_its_attempts_and_can_go_again(
    db: Session, relay: Relay
) -> None:
    message = publish(db, "a")
    refuse(relay, message)
    relay.drain()
    for attempts in (2, 3):
        assert one(db, REDRIVE_ALL) == 1
        assert relay.drain() == []
        assert dead_letters(db) == [(message, "MSG_SIZE_TOO_LARGE", attempts, False, False)]
    refuse(relay)
    assert one(db, REDRIVE_ALL) == 1
    assert relay.drain() == [message]
    assert dead_letters(db) == [(message, "MSG_SIZE_TOO_LARGE", 4, True, True)]


def test_dead_letters_that_were_not_acknowledged_come_again(db: Session, relay: Relay) -> None:
    messages = [publish(db, "a") for _ in range(3)]
    refuse(relay, *messages)
    relay.drain()
    refuse(relay)
    db.execute(REDRIVE_ALL)

    def away() -> None:
        relay.sink.delivered = lambda: None
        raise SinkAway("away")

    relay.sink.delivered = away
    with pytest.raises(SinkAway):
        relay.drain()
    assert relay.drain() == messages
    assert relay.drain() == []


def test_a_dead_letter_whose_topic_is_missing_is_not_overtaken_by_the_next(
    db: Session, relay: Relay
) -> None:
    """Redriven one by one, the second when the topic of both is back."""
    messages = [publish(db, "a"), publish(db, "a")]
    refuse(relay, *messages)
    relay.drain()
    refuse(relay)
    relay.sink.missing = {"orders"}
    db.execute(REDRIVE, [messages[0]])
    relay.drain()
    assert relay.sink.arrivals == []
    relay.sink.missing = set()
    db.execute(REDRIVE, [messages[1]])
    assert relay.drain() == messages


def test_a_dead_letter_goes_to_its_own_subscription_only(db: Session, relay: Relay) -> None:
    db.execute("insert into outbox.subscription (name) values ('other')")
    message = publish(db, "a")
    refused = 0

    def refuse_once(_: Arrival) -> bool:
        nonlocal refused
        refused += 1
        return refused == 1

    relay.sink.refuses = refuse_once
    assert relay.drain() == [message]
    assert one(db, REDRIVE_ALL) == 1
    assert relay.drain() == [message]


def test_a_dead_letter_whose_topic_is_missing_delays_no_dead_letter_of_another_channel(
    db: Session, relay: Relay
) -> None:
    waiting = [publish(db, "a", channel="missing") for _ in range(2)]
    others = [publish(db, "a", channel="orders") for _ in range(2)]
    refuse(relay, *waiting, *others)
    relay.drain()
    refuse(relay)
    relay.sink.missing = {"missing"}
    assert one(db, REDRIVE_ALL) == 4
    # The first run finds out that the topic is missing, and sends nothing.
    assert relay.drain() + relay.drain() == others
