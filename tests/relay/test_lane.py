"""A lane obeys what its subscription says now, and asks for more only where it got on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relay.cursor import Terms
from relay.database import connect
from relay.lane import Lane
from relay.reading import RUN_MESSAGES
from relay.run import Runs
from relay.telemetry import Telemetry
from tests.eventually import eventually
from tests.relay.operating import settings
from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session, one, publish

FILL = """
    insert into outbox.message (channel, type, group_key, payload)
    select 'orders', 'event', 'g' || n %% 10, '{}' from generate_series(1, %s) as n
"""
CHANGE = """update outbox.subscription set settings = '{"topic_prefix": "later."}'"""


@contextmanager
def session(database_url: str, sink: RecordingSink) -> Iterator[Runs]:
    """As the relay's, into a sink that remembers."""
    operating = settings(database_url, RELAY_NAME="lane")
    with connect(operating) as connection:
        yield Runs(connection, sink, operating, Telemetry())


OpenLane = Callable[[Callable[[Terms], RecordingSink], Callable[[], None]], Lane]


@pytest.fixture
def open_lane(database_url: str, db: Session) -> Iterator[OpenLane]:
    """Opens a lane of subscription `kafka` with these sinks, which tells that it got on."""
    lanes: list[Lane] = []

    def open_one(sink: Callable[[Terms], RecordingSink], turned: Callable[[], None]) -> Lane:
        lane = Lane(
            "kafka",
            one(db, "select id from outbox.subscription"),
            telemetry=Telemetry(),
            sessions=lambda cursor: session(database_url, sink(cursor.terms)),
            turned=turned,
        )
        lanes.append(lane)
        return lane

    yield open_one
    for lane in lanes:
        lane.stop()
    for lane in lanes:
        lane.join(10)


def worked_off(lane: Lane, relay: Relay) -> None:
    """Offers what there is. Raises AssertionError while there is something."""
    pending = relay.probe()
    lane.offer(pending)
    assert pending == []


def test_terms_that_change_in_the_middle_of_a_backlog_hold_from_the_next_run_on(
    db: Session, relay: Relay, open_lane: OpenLane
) -> None:
    sinks: dict[str, RecordingSink] = {}

    def change() -> None:
        db.execute(CHANGE)

    def sink(terms: Terms) -> RecordingSink:
        made = sinks[terms.topic_prefix] = RecordingSink()
        if not terms.topic_prefix:
            made.delivered = change
        return made

    db.execute(FILL, [2 * RUN_MESSAGES + 1])
    lane = open_lane(sink, lambda: None)
    eventually(lambda: worked_off(lane, relay), 30)
    assert len(sinks[""].runs) == 1
    assert len(sinks[""].ids) + len(sinks["later."].ids) == 2 * RUN_MESSAGES + 1


def test_a_lane_that_does_not_get_on_asks_for_no_more(
    db: Session, relay: Relay, open_lane: OpenLane
) -> None:
    sink, turns = RecordingSink(), []
    sink.missing = {"orders"}
    publish(db, "a")
    relay.sink.missing = {"orders"}
    relay.drain()
    lane = open_lane(lambda _: sink, lambda: turns.append(1))
    lane.offer(relay.probe())

    def has_tried() -> None:
        assert lane.idle
        assert sink.asked == ["orders"]

    eventually(has_tried, 10)
    assert turns == []
