"""Operators look at one subscription, change it and end it, as over HTTP."""

import json
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from relay.database import Connection
from relay.operate import subscription
from tests.relay.operating import add_dead_letter, outbox_relay, publish

ENDPOINT = "https://billing.example.com/in?token=hunter2"


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A database with a subscription `billing` to channel `orders`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        subscription.add(
            connection,
            "billing",
            channels=["orders"],
            endpoint=ENDPOINT,
            settings={"concurrency": 4, "retry.jitter": 0.5, "retry.max_attempts": 3},
        )
        yield connection


class Told:
    """`outbox-relay subscriptions …` on this database."""

    def __init__(self, database_url: str) -> None:
        self._environment = {"DATABASE_URL": database_url}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return outbox_relay("subscriptions", *arguments, environment=self._environment)


@pytest.fixture
def told(connection: Connection, database_url: str) -> Told:
    return Told(database_url)


def row(connection: Connection) -> object:
    return connection.execute(
        "select name, channels, types, settings from outbox.subscription where kind = 'http'"
    ).fetchone()


def test_one_is_shown_with_all_that_is_said_of_it(told: Told) -> None:
    shown = told("show", "billing")
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    for line in (
        ["kind", "http"],
        ["channels", "orders"],
        ["types", "all"],
        ["endpoint", ENDPOINT],
        ["concurrency", "4"],
        ["retry.jitter", "0.5"],
        ["state", "active"],
    ):
        assert line in lines
    encoded = json.loads(told("show", "billing", "--json").stdout)
    assert encoded["settings"]["retry"] == {"jitter": 0.5, "max_attempts": 3}


def test_what_is_given_is_changed_and_the_rest_stays(told: Told, connection: Connection) -> None:
    changed = told(
        "set", "billing", "--setting=retry.max_attempts=7", "--setting=concurrency=null",
        "--setting=on_exhausted=park", "--type=order.paid", "--name=invoices",
    )  # fmt: skip
    assert changed.returncode == 0, changed.stderr
    settings = {
        "endpoint": ENDPOINT,
        "retry": {"jitter": 0.5, "max_attempts": 7},
        "on_exhausted": "park",
    }
    assert row(connection) == ("invoices", ["orders"], ["order.paid"], settings)
    moved = told(
        "set", "invoices", "--all-types", "--channel=a", "--channel=b", "--endpoint=http://b/",
        "--setting=retry=null", "--setting=on_exhausted=null",
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr
    assert row(connection) == ("invoices", ["a", "b"], None, {"endpoint": "http://b/"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--setting=retry.colour=1"], "retry.colour is not known; known are attempts_log, "),
        (["--setting=concurrency=0"], "concurrency must be a whole number from 1 to 1000"),
        (["--name=kafka"], "there is a subscription kafka already"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    told: Told, connection: Connection, arguments: list[str], sentence: str
) -> None:
    before = row(connection)
    refused = told("set", "billing", "--type=x", *arguments)
    assert (refused.returncode, sentence in refused.stderr) == (1, True), refused.stderr
    assert row(connection) == before


def test_nothing_to_change_is_told(told: Told) -> None:
    refused = told("set", "billing")
    assert (refused.returncode, "nothing to change" in refused.stderr) == (2, True)


def test_a_delete_is_refused_with_the_count_until_it_is_told_to_discard(
    told: Told, connection: Connection
) -> None:
    publish(connection)
    add_dead_letter(connection, 7, subscription="billing")
    refused = told("delete", "billing")
    assert refused.returncode == 1
    assert "unread messages (1), undelivered dead letters (1)" in refused.stderr
    assert "--discard-undelivered" in refused.stderr
    assert row(connection) is not None
    assert told("delete", "billing", "--discard-undelivered").returncode == 0
    assert row(connection) is None


def test_what_has_nothing_left_is_deleted(told: Told, connection: Connection) -> None:
    assert told("delete", "billing").returncode == 0
    assert row(connection) is None


@pytest.mark.parametrize("arguments", [["show"], ["set", "--type=x"], ["delete"]])
def test_a_name_that_is_none_is_told(told: Told, arguments: list[str]) -> None:
    verb, *more = arguments
    refused = told(verb, "biling", *more)
    assert (refused.returncode, refused.stderr) == (
        1,
        "outbox-relay: there is no subscription biling\n",
    )


WAITING = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
    select cursor.id, number, 'g' || number, 1, clock_timestamp() + interval '1 hour'
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    cross join generate_series(1, 2) as number
    where name = 'billing' and priority = 3
"""


def test_what_waits_for_its_next_attempt_is_made_due(told: Told, connection: Connection) -> None:
    connection.execute(WAITING)
    assert told("retry", "billing", "--group", "g2").stdout.startswith("1 due now")
    assert told("retry", "billing").stdout.startswith("1 due now")
    missing = told("retry", "kafka")
    assert (missing.returncode, "no http subscription kafka" in missing.stderr) == (1, True)
