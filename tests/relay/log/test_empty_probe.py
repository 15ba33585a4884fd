"""A probe that found nothing speaks for the next ones, until a transaction has written."""

import pytest

from relay.log import probe as probing
from relay.log.probe import EmptyProbe
from tests.relay.recording import Relay
from tests.sql.log import Session, publish


@pytest.fixture
def empty(relay: Relay) -> EmptyProbe:
    """Of a log without work."""
    made = EmptyProbe(relay.connection)
    before = made.before()
    assert relay.probe() == []
    made.note(before)
    return made


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time makes nothing due."""
    monkeypatch.setattr(probing, "MAX_UNASKED_SECONDS", 600.0)


def test_what_is_published_ends_it(patience: None, db: Session, empty: EmptyProbe) -> None:
    publish(db)
    assert not empty.still_holds()


def test_what_is_written_between_its_two_statements_ends_it(
    patience: None, db: Session, relay: Relay
) -> None:
    made = EmptyProbe(relay.connection)
    before = made.before()
    assert relay.probe() == []
    publish(db)
    made.note(before)
    assert not made.still_holds()


def test_a_subscription_that_is_resumed_ends_it(
    patience: None, db: Session, relay: Relay, empty: EmptyProbe
) -> None:
    db.execute("update outbox.subscription set paused = false")
    assert not empty.still_holds()


def test_it_holds_for_a_moment_only(monkeypatch: pytest.MonkeyPatch, relay: Relay) -> None:
    monkeypatch.setattr(probing, "MAX_UNASKED_SECONDS", -1.0)
    made = EmptyProbe(relay.connection)
    made.note(made.before())
    assert not made.still_holds()


def test_one_that_found_something_holds_for_nothing(relay: Relay) -> None:
    made = EmptyProbe(relay.connection)
    made.note(None)
    assert not made.still_holds()
