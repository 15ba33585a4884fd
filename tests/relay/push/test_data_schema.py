"""`ce-dataschema` over HTTP: on retries and redriven dead letters as at first."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.event_types import FITS, ORDER, register
from tests.receiver import OK, Receiver, respond
from tests.relay.push.stage import Answers, PushRelay, PushStage
from tests.sql.log import one

URL = "https://api.shop.example/v1/event-types"
PUBLISH = """
    select outbox.publish('orders', 'order.sent', %s, group_key => 'a', idempotency_key => %s)
"""
TWICE = {"schedule_seconds": [0], "jitter": 0}
WIDER = {**ORDER, "properties": {**ORDER["properties"], "note": {}}}


@pytest.fixture
def stage(database_url: str, patience: None) -> Iterator[PushStage]:
    """On a database of its own: what is enforced there is checked for every test after it."""
    with Receiver() as receiver, psycopg.connect(database_url, autocommit=True) as db:
        yield PushStage(database_url, db, receiver)


def test_every_attempt_names_the_version_that_the_message_fits(stage: PushStage) -> None:
    stage.subscribe(retry=TWICE)
    stage.receiver.react = answers = Answers()
    answers.give("one", respond(500))
    register(stage.db, "order.sent")
    with PushRelay(stage.database_url, RELAY_EVENT_TYPES_URL=URL) as relay:
        one(stage.db, PUBLISH, FITS, "one")
        relay.drain()
        register(stage.db, "order.sent", WIDER)
        # Retention has taken the message; its dead letter is whole.
        stage.db.execute("truncate outbox.message")
        answers.give("one", OK)
        stage.db.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
        relay.drain()
        one(stage.db, PUBLISH, FITS, "two")
        relay.drain()
    told = [
        (request.header("webhook-id"), request.headers["ce-dataschema"])
        for request in stage.receiver.requests
    ]
    first, second = (f"{URL}/order.sent/versions/{version}" for version in (1, 2))
    assert told == [("one", first)] * 3 + [("two", second)]
