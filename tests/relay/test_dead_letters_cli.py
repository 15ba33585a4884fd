"""Dead letters are listed, shown and redriven, each once and in their order."""

from argparse import Namespace
from collections.abc import Iterator

import psycopg
import pytest

from relay import commands, dead_letters
from relay.database import Connection
from tests.relay.operating import bury, outbox_relay, settings


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


DELIVERIES = "select message_id from outbox.delivery order by message_id"


def deliveries(connection: Connection) -> list[int]:
    return [message_id for (message_id,) in connection.execute(DELIVERIES)]


def test_the_list_tells_what_was_given_up_and_why(
    connection: Connection, database_url: str
) -> None:
    letter = bury(connection, 7)
    listed = outbox_relay("dead-letters", "list", environment={"DATABASE_URL": database_url})
    row = listed.stdout.splitlines()[1].split()
    assert (listed.returncode, row[:5]) == (
        0,
        [str(letter), "dead", "kafka", "orders", "order.paid"],
    )
    assert "MSG_SIZE_TOO_LARGE" in row


def test_the_list_is_in_the_order_of_publishing_and_bounded(connection: Connection) -> None:
    for message_id in (30, 10, 20):
        bury(connection, message_id)
    listed = dead_letters.letters(connection, subscription=None, reason=None, limit=2)
    assert [letter.message_id for letter in listed] == [10, 20]


def test_the_list_is_filtered_by_subscription_and_reason(connection: Connection) -> None:
    bury(connection, 1, reason="MSG_SIZE_TOO_LARGE")
    bury(connection, 2, reason="INVALID_RECORD")

    def ids(subscription: str, reason: str | None) -> list[int]:
        found = dead_letters.letters(connection, subscription=subscription, reason=reason, limit=10)
        return [letter.message_id for letter in found]

    assert ids("kafka", "INVALID_RECORD") == [2]
    assert ids("kafka", None) == [1, 2]
    assert ids("another", None) == []


def test_a_letter_is_shown_whole_without_steering_the_terminal(
    connection: Connection, database_url: str
) -> None:
    letter = bury(connection, 7, payload=b'{"note": "\x1b[2Jgone"}\xff')
    shown = outbox_relay(
        "dead-letters", "show", str(letter), environment={"DATABASE_URL": database_url}
    )
    assert shown.returncode == 0
    assert '{"note": "\\x1b[2Jgone"}\\xff' in shown.stdout
    assert '{"traceparent": "00-1"}' in shown.stdout
    assert "\x1b" not in shown.stdout


def test_a_long_payload_is_shown_in_part(connection: Connection) -> None:
    letter = bury(connection, 7, payload=b"x" * (dead_letters.MAX_SHOWN_BYTES + 5))
    shown = dead_letters.show(connection, letter)
    assert shown.endswith("… 5 bytes more")


def test_redrive_sends_each_letter_once(connection: Connection, database_url: str) -> None:
    letters = [str(bury(connection, message_id)) for message_id in (3, 4)]
    environment = {"DATABASE_URL": database_url}
    first = outbox_relay("dead-letters", "redrive", *letters, environment=environment)
    second = outbox_relay("dead-letters", "redrive", *letters, environment=environment)
    assert (first.stdout, second.stdout) == ("redriven: 2\n", "redriven: 0\n")
    assert deliveries(connection) == [3, 4]


def test_an_unknown_id_redrives_nothing(connection: Connection, database_url: str) -> None:
    letter = bury(connection, 3)
    redriven = outbox_relay(
        "dead-letters",
        "redrive",
        str(letter),
        str(letter + 1),
        environment={"DATABASE_URL": database_url},
    )
    assert (redriven.returncode, deliveries(connection)) == (1, [])
    assert str(letter + 1) in redriven.stderr


def test_all_of_a_subscription_go_by_reason_over_many_batches(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for message_id in (5, 3, 1, 4, 2):
        bury(connection, message_id)
    bury(connection, 6, reason="INVALID_RECORD")
    monkeypatch.setattr(dead_letters, "BATCH", 2)
    redriven = dead_letters.redrive_all(
        connection, subscription="kafka", reason="MSG_SIZE_TOO_LARGE"
    )
    assert (redriven, deliveries(connection)) == (5, [1, 2, 3, 4, 5])


def test_a_subscription_that_is_not_there_is_told(connection: Connection) -> None:
    with pytest.raises(LookupError, match="kafak"):
        dead_letters.redrive_all(connection, subscription="kafak", reason=None)


@pytest.mark.parametrize(
    ("ids", "everything", "subscription", "reason"),
    [
        ([], False, None, None),
        ([], True, None, None),
        ([], False, "kafka", None),
        ([1], True, "kafka", None),
        ([1], False, None, "INVALID_RECORD"),
    ],
)
def test_a_redrive_that_is_not_meant_clearly_is_refused(
    ids: list[int], everything: bool, subscription: str | None, reason: str | None
) -> None:
    arguments = Namespace(ids=ids, all=everything, subscription=subscription, reason=reason)
    # Refused before anything is asked: there is no such database.
    nowhere = settings("postgresql://nobody@127.0.0.1:1/none")
    assert commands.redrive(nowhere, arguments) == commands.BAD_CONFIGURATION


def test_an_id_is_a_number() -> None:
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    refused = outbox_relay("dead-letters", "show", "seventeen", environment=environment)
    assert (refused.returncode, "'seventeen'" in refused.stderr) == (2, True)
