"""A log with transaction ids of another cluster is refused, with the command that repairs it."""

import threading
from collections.abc import Callable

import pytest

from relay.daemon import relay as daemon
from relay.log.cluster import foreign_cluster
from relay.monitoring.telemetry import Telemetry
from tests.relay.operating import settings
from tests.relay.recording import Relay
from tests.sql.log import Session, cursor_id, one, publish

MOVED = "update outbox.installation set system_identifier = system_identifier + 1"
FORGED = "update outbox.message set xid = '1099511628000' where id = %s"
AHEAD = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select %(cursor)s, max(n) + 1, '1099511628000:1099511628000:', 'elsewhere'
    from outbox.checkpoint where cursor_id = %(cursor)s
"""
MEND = "outbox-relay rebase"
CHECKPOINTS = "select count(*) from outbox.checkpoint"
Make = Callable[[Session], int]


@pytest.fixture
def database_url(any_database_url: str) -> str:
    return any_database_url


def moved(db: Session) -> int:
    message = publish(db, "a")
    db.execute(MOVED)
    return message


def with_a_message_from_the_future(db: Session) -> int:
    message = publish(db, "a")
    db.execute(FORGED, [message])
    return message


def with_a_cursor_from_the_future(db: Session) -> int:
    message = publish(db, "a")
    db.execute(AHEAD, {"cursor": cursor_id(db)})
    return message


@pytest.mark.parametrize(
    "make", [moved, with_a_message_from_the_future, with_a_cursor_from_the_future]
)
@pytest.mark.parametrize("once", [True, False], ids=["once", "serving"])
def test_the_relay_refuses_to_run_and_names_the_mend(
    database_url: str, db: Session, make: Make, once: bool
) -> None:
    make(db)
    telemetry = Telemetry()
    checkpoints = one(db, CHECKPOINTS)
    with pytest.raises(daemon.Refused, match=MEND):
        daemon.run(settings(database_url), telemetry, threading.Event(), once)
    assert MEND in str(telemetry.refusal)
    assert one(db, CHECKPOINTS) == checkpoints


def test_a_log_of_this_cluster_is_trusted(db: Session, relay: Relay) -> None:
    publish(db, "a")
    relay.drain()
    publish(db, "a")
    assert foreign_cluster(relay.connection) is None


@pytest.mark.parametrize("make", [moved, with_a_message_from_the_future])
def test_after_the_rebase_what_was_pending_arrives_before_what_is_new(
    db: Session, relay: Relay, make: Make
) -> None:
    publish(db, "a")
    relay.drain()
    pending = make(db)
    db.execute("select from outbox.rebase()")
    assert foreign_cluster(relay.connection) is None
    new = publish(db, "a")
    assert relay.drain() == [pending, new]
