"""A filter is read once for each version of its subscription, and no change of it is missed."""

import pytest

from relay.database import connect
from relay.log.claim import leave
from relay.log.claims import Claims
from relay.log.known_filters import KnownFilters
from tests.relay.conftest import OpenRelay
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

TYPES = [f"type-{n}".ljust(250, "x") for n in range(100)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """The types that each cursor of each claim brought with it."""
    brought: list[list[str] | None] = []
    filter_ = KnownFilters.filter

    def noted(known, subscription_id, version, channels, types):  # type: ignore[no-untyped-def]
        brought.append(types)
        return filter_(known, subscription_id, version, channels, types)

    monkeypatch.setattr(KnownFilters, "filter", noted)
    return brought


@pytest.fixture
def relay(db: Session, open_relay: OpenRelay) -> Relay:
    """With two subscriptions that have something to read."""
    db.execute("delete from outbox.subscription")
    for name in ("a", "b"):
        db.execute(
            "insert into outbox.subscription (name, types) values (%s, %s)", [name, [*TYPES, name]]
        )
    publish(db)
    return open_relay()


def claimed(claims: Claims, relay: Relay) -> dict[str, set[str] | frozenset[str]]:
    """The types that each subscription wants by a claim."""
    found = claims.take(relay.probe())
    wanted = {one.cursor.subscription: one.filter.types or set[str]() for one in found}
    leave(relay.connection)
    return wanted


def test_what_has_not_changed_is_not_read_again(
    db: Session, relay: Relay, read: list[list[str] | None]
) -> None:
    claims = Claims(relay.connection, "test", 60)
    first = claimed(claims, relay)
    assert first == {"a": {*TYPES, "a"}, "b": {*TYPES, "b"}}
    assert [len(types or ()) for types in read] == [101, 101]
    read.clear()
    assert claimed(claims, relay) == first
    assert read == [None, None]


def test_what_has_changed_is_read_by_the_next_claim(
    db: Session, relay: Relay, read: list[list[str] | None]
) -> None:
    claims = Claims(relay.connection, "test", 60)
    claimed(claims, relay)
    read.clear()
    db.execute("update outbox.subscription set types = array['event'] where name = 'b'")
    assert claimed(claims, relay) == {"a": {*TYPES, "a"}, "b": {"event"}}
    assert sorted(read, key=str) == [None, ["event"]]
    db.execute("update outbox.subscription set types = null where name = 'b'")
    assert claimed(claims, relay)["b"] == set()


def test_another_connection_reads_for_itself(relay: Relay, read: list[list[str] | None]) -> None:
    claimed(Claims(relay.connection, "test", 60), relay)
    read.clear()
    with connect(relay.settings) as other:
        claims = Claims(other, "other", 60)
        assert len(claims.take(relay.probe())) == 2
        leave(other)
    assert [len(types or ()) for types in read] == [101, 101]


def test_beyond_a_bound_only_those_that_are_asked_for_stay_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay.log.known_filters.MAX_KNOWN", 2)
    known = KnownFilters()
    for one in (1, 2):
        known.filter(one, "7", ["orders"], None)
    assert known.versions([2, 2, 4]) == ["2 7"]
    known.filter(3, "7", ["orders"], None)
    assert known.versions([2, 3]) == ["2 7", "3 7"]
    assert known.versions([1]) == []
