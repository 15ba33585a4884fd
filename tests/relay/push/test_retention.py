"""A partition of the log stays for as long as a delivery row needs one of its messages."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.receiver import OK, Receiver, respond
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.sql.log import let_days_pass, one, publish, turn

PARTITION = "message_0"
NEEDED = "select needed_by from outbox.partition_state(7) where partition = %s"


@pytest.fixture
def old(database_url: str, patience: None) -> Iterator[PushStage]:
    """A log with one message of 30 days ago, in a partition of its own, that was refused once."""
    with Receiver() as receiver, psycopg.connect(database_url, autocommit=True) as db:
        db.execute("delete from outbox.subscription")
        stage = PushStage(database_url, db, receiver)
        stage.subscribe(retry=LATER)
        publish(db)
        turn(db)
        let_days_pass(db, 30)
        receiver.react = respond(500)
        with PushRelay(database_url) as relay:
            relay.drain()
        yield stage


def test_a_partition_stays_until_the_last_of_its_messages_was_delivered(old: PushStage) -> None:
    assert one(old.db, NEEDED, PARTITION) == "not yet passed by billing (priority 3)"
    assert one(old.db, "select outbox.retire_partition(%s, 7)", PARTITION) == "needed"
    old.receiver.react = OK
    old.let_time_pass()
    with PushRelay(old.database_url) as relay:
        relay.drain()
    assert len(old.receiver.requests) == 2
    assert one(old.db, NEEDED, PARTITION) is None
    assert one(old.db, "select outbox.retire_partition(%s, 7)", PARTITION) == "truncated"
