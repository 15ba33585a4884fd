"""Dead letters are listed, shown and redriven, each once and in their order."""

from argparse import Namespace
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg import errors

from relay.commands.dead_letters import redrive
from relay.commands.outcome import BAD_CONFIGURATION
from relay.database import Connection
from relay.operate import dead_letters, subscription
from relay.operate.dead_letters import Filter
from tests.relay.operating import add_dead_letter, outbox_relay, settings

DELIVERIES = "select message_id from outbox.delivery order by message_id"


def deliveries(connection: Connection) -> list[int]:
    return [message_id for (message_id,) in connection.execute(DELIVERIES)]


def test_the_list_tells_what_was_given_up_and_why(
    connection: Connection, database_url: str
) -> None:
    dead_letter = add_dead_letter(connection, 7)
    listed = outbox_relay("dead-letters", "list", environment={"DATABASE_URL": database_url})
    row = listed.stdout.splitlines()[1].split()
    assert (listed.returncode, row[:5]) == (
        0,
        [str(dead_letter), "dead", "kafka", "orders", "order.paid"],
    )
    assert "MSG_SIZE_TOO_LARGE" in row


def test_the_list_is_in_the_order_of_publishing_and_bounded(connection: Connection) -> None:
    for message_id in (30, 10, 20):
        add_dead_letter(connection, message_id)
    listed = dead_letters.read(connection, Filter(), limit=2)
    assert [dead_letter.message_id for dead_letter in listed] == [10, 20]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_hour_apart(connection: Connection) -> None:
    """Dead letters of message 1, of type order.paid, and 2: they died at noon and at one."""
    add_dead_letter(connection, 1)
    add_dead_letter(connection, 2, reason="INVALID_RECORD")
    connection.execute(
        "update outbox.dead_letter set died_at = %s + make_interval(hours => message_id::int - 1),"
        " type = case message_id when 1 then type else 'order.sent' end",
        (NOON,),
    )


@pytest.mark.parametrize(
    ("meant", "found"),
    [
        (Filter(), [1, 2]),
        (Filter(subscription="kafka"), [1, 2]),
        (Filter(subscription="another"), []),
        (Filter(reason="INVALID_RECORD"), [2]),
        (Filter(type="order.paid"), [1]),
        (Filter(since=NOON + timedelta(seconds=1)), [2]),
        (Filter(since=NOON, until=NOON + timedelta(hours=1)), [1]),
    ],
)
def test_the_list_is_filtered(connection: Connection, meant: Filter, found: list[int]) -> None:
    an_hour_apart(connection)
    listed = dead_letters.read(connection, meant, limit=10)
    assert [dead_letter.message_id for dead_letter in listed] == found


def test_all_that_are_meant_are_redriven_and_no_other(connection: Connection) -> None:
    an_hour_apart(connection)
    meant = Filter(subscription="kafka", type="order.paid", until=NOON + timedelta(hours=1))
    assert (dead_letters.redrive_all(connection, meant), deliveries(connection)) == (1, [1])
    late = Filter(subscription="kafka", since=NOON + timedelta(hours=2))
    assert dead_letters.redrive_all(connection, late) == 0


def test_the_limit_that_a_letter_exhausted_is_told(connection: Connection) -> None:
    dead_letter = add_dead_letter(connection, 7)
    connection.execute("update outbox.dead_letter set exhausted = 'retry.max_attempts'")
    listed = dead_letters.render(dead_letters.read(connection, Filter(), limit=1))
    assert "retry.max_attempts" in listed
    assert "retry.max_attempts" in dead_letters.show(connection, dead_letter)


def test_a_redrive_of_an_endpoints_letter_does_not_wait_for_ever(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription.add(connection, "billing", channels=["c"], endpoint="http://h/", settings={})
    dead_letter = add_dead_letter(connection, 7, subscription="billing")
    bounds = dead_letters.BOUNDS.replace("15s", "10ms")
    monkeypatch.setattr(dead_letters, "BOUNDS", bounds)
    with psycopg.connect(database_url) as run:
        run.execute("select from outbox.cursor for no key update")
        with pytest.raises(errors.LockNotAvailable):
            dead_letters.redrive(connection, [dead_letter])
        run.rollback()
        assert dead_letters.redrive(connection, [dead_letter]) == 1


def test_a_dead_letter_is_shown_whole_without_steering_the_terminal(
    connection: Connection, database_url: str
) -> None:
    dead_letter = add_dead_letter(connection, 7, payload=b'{"note": "\x1b[2Jgone"}\xff')
    shown = outbox_relay(
        "dead-letters", "show", str(dead_letter), environment={"DATABASE_URL": database_url}
    )
    assert shown.returncode == 0
    assert '{"note": "\\x1b[2Jgone"}\\xff' in shown.stdout
    assert '{"traceparent": "00-1"}' in shown.stdout
    assert "\x1b" not in shown.stdout


def test_a_long_payload_is_shown_in_part(connection: Connection) -> None:
    dead_letter = add_dead_letter(connection, 7, payload=b"x" * (dead_letters.MAX_SHOWN_BYTES + 5))
    shown = dead_letters.show(connection, dead_letter)
    assert shown.endswith("… 5 bytes more")


def test_redrive_sends_each_letter_once(connection: Connection, database_url: str) -> None:
    ids = [str(add_dead_letter(connection, message_id)) for message_id in (3, 4)]
    environment = {"DATABASE_URL": database_url}
    first = outbox_relay("dead-letters", "redrive", *ids, environment=environment)
    second = outbox_relay("dead-letters", "redrive", *ids, environment=environment)
    assert (first.stdout, second.stdout) == ("redriven: 2\n", "redriven: 0\n")
    assert deliveries(connection) == [3, 4]


def test_an_unknown_id_redrives_nothing(connection: Connection, database_url: str) -> None:
    dead_letter = add_dead_letter(connection, 3)
    redriven = outbox_relay(
        "dead-letters",
        "redrive",
        str(dead_letter),
        str(dead_letter + 1),
        environment={"DATABASE_URL": database_url},
    )
    assert (redriven.returncode, deliveries(connection)) == (1, [])
    assert str(dead_letter + 1) in redriven.stderr


def test_all_of_a_subscription_go_by_reason_over_many_batches(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for message_id in (5, 3, 1, 4, 2):
        add_dead_letter(connection, message_id)
    add_dead_letter(connection, 6, reason="INVALID_RECORD")
    monkeypatch.setattr(dead_letters, "BATCH", 2)
    meant = Filter(subscription="kafka", reason="MSG_SIZE_TOO_LARGE")
    redriven = dead_letters.redrive_all(connection, meant)
    assert (redriven, deliveries(connection)) == (5, [1, 2, 3, 4, 5])


def test_a_subscription_that_is_not_there_is_told(connection: Connection) -> None:
    with pytest.raises(LookupError, match="kafak"):
        dead_letters.redrive_all(connection, Filter(subscription="kafak"))


@pytest.mark.parametrize(
    ("ids", "everything", "meant"),
    [
        ([], False, Filter()),
        ([], True, Filter()),
        ([], False, Filter(subscription="kafka")),
        ([1], True, Filter(subscription="kafka")),
        ([1], False, Filter(reason="INVALID_RECORD")),
        ([1], False, Filter(since=NOON)),
    ],
)
def test_a_redrive_that_is_not_meant_clearly_is_refused(
    ids: list[int], everything: bool, meant: Filter
) -> None:
    arguments = Namespace(ids=ids, all=everything, **msgspec.structs.asdict(meant))
    # Refused before anything is asked: there is no such database.
    nowhere = settings("postgresql://nobody@127.0.0.1:1/none")
    assert redrive(nowhere, arguments) == BAD_CONFIGURATION


def test_an_id_is_a_number() -> None:
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    refused = outbox_relay("dead-letters", "show", "seventeen", environment=environment)
    assert (refused.returncode, "'seventeen'" in refused.stderr) == (2, True)
