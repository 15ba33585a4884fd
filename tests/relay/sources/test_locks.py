"""What other sessions lock: told, and waited for as far as it has to be."""

import pytest

from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage, keyed

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


def test_no_lock_that_any_login_may_take_keeps_one_from_beginning(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    with inward.database() as other:
        other.execute(
            "select pg_advisory_lock(hashtextextended('outbox source ' || id, 0))"
            " from outbox.source"
        )
        inward.relay()
        inward.all_entered(10)


@pytest.mark.long
def test_a_row_that_a_session_keeps_locked_is_told_and_then_it_begins(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    with inward.database() as other, other.transaction():
        other.execute("select from outbox.source for update")
        relay = inward.relay()

        def told() -> None:
            assert "keeps its row of outbox.source locked" in relay.log_tail()

        eventually(told, 30)
        assert inward.entered() == []
    inward.all_entered(10)


@pytest.mark.long
def test_a_row_that_a_session_keeps_locked_holds_up_nothing_that_has_begun(
    inward: InwardStage,
) -> None:
    topic = inward.topic("orders")
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(10, 5))
    # What a relay that can read takes back.
    inward.execute("select outbox.note_source_waiting(id, 'no broker') from outbox.source")
    with inward.database() as other, other.transaction():
        other.execute("select from outbox.source for update")
        relay = inward.relay("--once")
        assert relay.wait(60) == 0
    assert "session_failed" not in relay.output()
    inward.all_entered(10)
