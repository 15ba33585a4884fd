"""`outbox-relay channels`: what waits for a topic, and giving up a channel that was mistyped."""

import json
import subprocess

import psycopg
import pytest

from tests.relay.conftest import Open
from tests.relay.operating import outbox_relay, relay_role
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish

CHANNEL_CURSORS = "select channel from outbox.cursor where channel is not null order by channel"
WAITING = "select channel from outbox.cursor where waiting_since is not null order by channel"
TOLD = """
    select convert_from(payload, 'UTF8')::json -> 'detail' ->> 'channel'
    from outbox.message where channel = 'outbox.events'
"""


def channels(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return outbox_relay("channels", *arguments, environment={"DATABASE_URL": url})


@pytest.fixture
def mistyped(db: Session, relay: Relay) -> list[int]:
    """Three messages of `oders` wait, and all of `orders` have gone; the ids of both."""
    relay.sink.missing = {"oders"}
    written = [publish(db, "a", channel=name) for name in ("oders", "orders") * 3]
    relay.drain()
    return written


def test_the_list_says_which_channel_waits_since_when_why_and_with_how_much(
    database_url: str, mistyped: list[int], db: Session
) -> None:
    publish(db, "a", channel="oders")
    (waiting,) = json.loads(channels(database_url, "list", "--json").stdout)
    assert waiting["waiting_since"]
    assert {name: waiting[name] for name in waiting if name != "waiting_since"} == {
        "subscription": "kafka",
        "channel": "oders",
        "waiting_reason": "UNKNOWN_TOPIC_OR_PART",
        "messages": 4,
        "more": False,
    }
    listed = channels(database_url, "list")
    assert listed.returncode == 0
    for word in ("kafka", "oders", "UNKNOWN_TOPIC_OR_PART", "4"):
        assert word in listed.stdout


def test_the_list_of_nothing_says_so(database_url: str) -> None:
    assert channels(database_url, "list").stdout == "no channel waits\n"


def test_the_list_counts_what_each_of_many_channels_has(
    database_url: str, db: Session, relay: Relay, open_session: Open
) -> None:
    """In two priorities, with a late commit, and a message that has gone before the topic did."""
    publish(db, "a", channel="m0")
    relay.drain()
    slow = open_session()
    slow.execute("begin")
    publish(slow, "a", channel="m1")
    relay.sink.missing = {f"m{n}" for n in range(3)}
    for n in range(3):
        for priority in (3, 5):
            for _ in range(n + 1):
                publish(db, "a", channel=f"m{n}", priority=priority)
    relay.drain()
    slow.execute("commit")
    publish(db, "a", channel="m2")
    listed = json.loads(channels(database_url, "list", "--json").stdout)
    assert {found["channel"]: found["messages"] for found in listed} == {"m0": 2, "m1": 4, "m2": 7}


def test_a_dropped_channel_passes_over_what_it_has_and_waits_again_with_the_next(
    database_url: str, mistyped: list[int], db: Session, relay: Relay
) -> None:
    dropped = channels(database_url, "drop", "oders")
    assert dropped.returncode == 0
    assert "kafka: 3" in dropped.stdout
    assert db.execute(WAITING).fetchall() == []
    assert db.execute(TOLD).fetchall() == [("oders",)]
    # The dropped ones are passed over although the topic is there by now.
    relay.sink.missing = set()
    later = [publish(db, "a", channel=name) for name in ("oders", "orders")]
    relay.drain()
    assert sorted(relay.sink.ids) == [*mistyped[1::2], *later]
    assert db.execute(CHANNEL_CURSORS).fetchall() == []


def test_what_is_published_after_the_drop_waits_again(
    database_url: str, mistyped: list[int], db: Session, relay: Relay
) -> None:
    channels(database_url, "drop", "oders")
    later = publish(db, "a", channel="oders")
    relay.drain()
    assert db.execute(WAITING).fetchall() == [("oders",)]
    (waiting,) = json.loads(channels(database_url, "list", "--json").stdout)
    assert waiting["messages"] == 1
    relay.sink.missing = set()
    relay.drain()
    assert relay.sink.ids == [*mistyped[1::2], later]


def test_a_drop_passes_over_what_its_subscription_has_not_come_to_yet(
    database_url: str, mistyped: list[int], db: Session, relay: Relay
) -> None:
    """The relay was away when more of the channel came: it is dropped up to now all the same."""
    backlog = [publish(db, "a", channel=name) for name in ("orders", "oders") * 2]
    assert "kafka: 5" in channels(database_url, "drop", "oders").stdout
    relay.sink.missing = set()
    relay.drain(limit=1)
    later = publish(db, "a", channel="oders")
    relay.drain(limit=1)
    assert relay.sink.ids == [*mistyped[1::2], *backlog[::2], later]
    assert db.execute(CHANNEL_CURSORS).fetchall() == []


def test_what_is_not_committed_at_the_drop_comes_later(
    database_url: str, mistyped: list[int], db: Session, relay: Relay, open_session: Open
) -> None:
    slow = open_session()
    slow.execute("begin")
    late = publish(slow, "a", channel="oders")
    assert "kafka: 3" in channels(database_url, "drop", "oders").stdout
    slow.execute("commit")
    relay.sink.missing = set()
    relay.drain()
    assert relay.sink.ids == [*mistyped[1::2], late]


def test_a_dry_run_only_counts(
    database_url: str, mistyped: list[int], db: Session, relay: Relay
) -> None:
    assert (
        "would be passed over in kafka: 3"
        in channels(database_url, "drop", "oders", "--dry-run").stdout
    )
    assert db.execute(WAITING).fetchall() == [("oders",)]
    relay.sink.missing = set()
    relay.drain()
    assert sorted(relay.sink.ids) == mistyped


def test_a_channel_is_dropped_in_the_subscription_that_is_named(
    database_url: str, db: Session, relay: Relay
) -> None:
    db.execute("insert into outbox.subscription (name) values ('audit')")
    relay.sink.missing = {"oders"}
    message = publish(db, "a", channel="oders")
    relay.drain()
    assert "audit: 1" in channels(database_url, "drop", "oders", "--subscription", "audit").stdout
    relay.sink.missing = set()
    relay.drain()
    assert relay.sink.ids == [message]


@pytest.mark.parametrize("arguments", [["orders"], ["oders", "--subscription", "audit"]])
def test_a_channel_that_does_not_wait_is_not_dropped(
    database_url: str, mistyped: list[int], db: Session, arguments: list[str]
) -> None:
    refused = channels(database_url, "drop", *arguments)
    assert refused.returncode == 1
    assert f"no channel {arguments[0]}" in refused.stderr
    assert db.execute(WAITING).fetchall() == [("oders",)]


def test_a_member_of_outbox_relay_may_do_both(mistyped: list[int], db: Session) -> None:
    with relay_role(db) as url:
        assert "oders" in channels(url, "list").stdout
        assert channels(url, "drop", "oders").returncode == 0
    assert db.execute(WAITING).fetchall() == []


@pytest.mark.parametrize("role", ["outbox_publisher", "outbox_service", "outbox_reader"])
def test_no_other_role_may_drop(
    mistyped: list[int], db: Session, open_session: Open, role: str
) -> None:
    other = open_session()
    other.execute(f"set role {role}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("select outbox.drop_channel('oders')")
    assert one(db, "select count(*) from outbox.cursor where waiting_since is not null") == 1
