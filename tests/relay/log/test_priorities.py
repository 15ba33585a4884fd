"""The urgent overtakes a backlog, and the least urgent still moves in every round."""

import pytest

from relay.daemon import rounds
from relay.daemon.rounds import Rounds
from relay.log.cursor import Cursor
from relay.log.reading import RUN_MESSAGES
from relay.log.run import SHORT_RUN_MESSAGES, Ran
from tests.relay.recording import Arrival, Relay
from tests.sql.log import Session, publish

FILL = """
    insert into outbox.message (channel, type, group_key, priority, payload)
    select 'orders', 'event', 'g' || n %% 10, %s, '{}' from generate_series(1, %s) as n
"""
PRIORITY_OF = "select id, priority from outbox.message"


def serve(relay: Relay, limit: int = 2_000) -> None:
    """Turns as the relay's own, with runs of at most `limit`."""
    turns = Rounds()
    turns.serve(
        relay.probe(),
        lambda cursor, most, _: relay.run(cursor, min(most, limit)),
        relay.probe,
        lambda: False,
    )


def priorities(db: Session, relay: Relay) -> list[int]:
    """The priority of each arrival, in their order."""
    of: dict[int, int] = dict(db.execute(PRIORITY_OF).fetchall())
    return [of[message_id] for message_id in relay.sink.ids]


def test_an_urgent_message_overtakes_a_backlog(db: Session, relay: Relay) -> None:
    db.execute(FILL, [5, 3_000])
    urgent = publish(db, "a", priority=1)
    serve(relay)
    assert relay.sink.ids[0] == urgent
    assert len(relay.sink.ids) == 3_001


def test_an_urgent_message_that_comes_meanwhile_waits_for_one_run_only(
    db: Session, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run takes as long as it is from one look to the next."""
    monkeypatch.setattr(rounds, "LOOK_SECONDS", 0.0)
    db.execute(FILL, [5, 6_000])
    urgent: list[int] = []

    def publish_at(arrived: Arrival) -> None:
        if len(relay.sink.arrivals) == 2_500:
            urgent.append(publish(db, "a", priority=1))

    relay.sink.taking = publish_at
    serve(relay)
    assert relay.sink.ids.index(urgent[0]) <= 4_000 + SHORT_RUN_MESSAGES
    assert len(relay.sink.ids) == 6_001


def test_each_class_below_moves_a_little_in_every_round(db: Session, relay: Relay) -> None:
    for priority in (1, 3, 5):
        db.execute(FILL, [priority, 4_000])
    serve(relay, limit=2_000)
    order = priorities(db, relay)
    first_round = order[: 2_000 + 2 * SHORT_RUN_MESSAGES]
    assert first_round == [1] * 2_000 + [3] * SHORT_RUN_MESSAGES + [5] * SHORT_RUN_MESSAGES
    assert len(order) == 12_000


def test_one_group_keeps_its_order_within_one_priority(db: Session, relay: Relay) -> None:
    written = [publish(db, "a", priority=1 + n % 3) for n in range(30)]
    serve(relay, limit=4)
    of: dict[int, int] = dict(db.execute(PRIORITY_OF).fetchall())
    for priority in (1, 2, 3):
        assert [one for one in relay.sink.ids if of[one] == priority] == [
            one for one in written if of[one] == priority
        ]


def test_after_an_aborted_run_the_next_is_half_as_long(db: Session, relay: Relay) -> None:
    publish(db, "a")
    limits: list[int] = []

    def abort_thrice(_: Cursor, limit: int, again: bool) -> Ran:
        limits.append(limit)
        return Ran(exhausted=False, aborted=True) if len(limits) < 4 else Ran(progressed=True)

    Rounds().serve(relay.probe(), abort_thrice, relay.probe, lambda: len(limits) == 4)
    assert limits == [RUN_MESSAGES // divisor for divisor in (1, 2, 4, 8)]


def test_a_run_that_sent_nothing_makes_the_next_no_longer(db: Session, relay: Relay) -> None:
    """As that which looks the topics up, the first of each session."""
    publish(db, "a")
    limits: list[int] = []

    def look_up(_: Cursor, limit: int, again: bool) -> Ran:
        limits.append(limit)
        return Ran(exhausted=len(limits) == 2)

    turns = Rounds()
    turns.halve()
    turns.serve(relay.probe(), look_up, relay.probe, lambda: len(limits) == 2)
    assert limits == [RUN_MESSAGES // 2] * 2


def test_what_failed_is_halved_and_not_what_it_might_have_been(db: Session, relay: Relay) -> None:
    publish(db, "a")
    limits: list[int] = []

    def serve_once(_: Cursor, limit: int, again: bool) -> Ran:
        limits.append(limit)
        return Ran()

    turns = Rounds()
    turns.halve(100)
    turns.serve(relay.probe(), serve_once, relay.probe, lambda: bool(limits))
    assert limits == [50]
