"""`outbox-relay trace` finds a message by id, key or group, and says where it is."""

import json

import pytest

from relay.database import Connection
from relay.operate import trace
from relay.operate.not_found import NotFoundError
from relay.operate.trace import Wanted
from tests.relay.operating import add_dead_letter, outbox_relay, publish, relay_role

PASS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'relay-1' from outbox.checkpoint
    group by cursor_id
"""
OWN = "select outbox.publish(%s, 'order.paid', '{}', group_key => %s, idempotency_key => %s)"


def own(connection: Connection, key: str, *, channel: str = "orders", group: str = "g") -> int:
    """Publishes a message with an idempotency key; its id."""
    row = connection.execute(OWN, (channel, group, key)).fetchone()
    assert row is not None
    return int(row[0])


def test_it_tells_where_a_message_is(connection: Connection, database_url: str) -> None:
    message = publish(connection)
    connection.execute(PASS)
    told = outbox_relay("trace", str(message), environment={"DATABASE_URL": database_url})
    lines = told.stdout.splitlines()
    assert (told.returncode, lines[0]) == (
        0,
        f"message {message}: order.paid on orders, group g, priority 3",
    )
    assert lines[2].startswith("kafka (kafka): delivered 20")
    assert lines[3].startswith("  cursor 3 passed it between checkpoint 0 ")
    assert lines[3].endswith(", in a run of relay-1")


@pytest.mark.usefixtures("secret")
def test_as_json_it_holds_the_same_and_no_payload(
    connection: Connection, database_url: str
) -> None:
    message = publish(connection)
    add_dead_letter(connection, message, payload=b'"secret"')
    with relay_role(connection, "outbox_reader") as reader:
        told = outbox_relay("trace", str(message), "--json", environment={"DATABASE_URL": reader})
    assert database_url
    (found,) = json.loads(told.stdout)["messages"]
    assert (found["id"], found["message"]["channel"]) == (message, "orders")
    assert {one["subscription"]: one["state"] for one in found["subscriptions"]} == {
        "billing": "waiting",
        "kafka": "waiting",
    }
    assert "payload" not in told.stdout
    assert "secret" not in told.stdout


def test_an_id_that_is_not_there_is_refused_with_the_reason(
    connection: Connection, database_url: str
) -> None:
    with connection.transaction(force_rollback=True):
        rolled_back = publish(connection)
    with pytest.raises(NotFoundError, match="rolled back, or is not over"):
        trace.read(connection, rolled_back)
    told = outbox_relay("trace", "12345", environment={"DATABASE_URL": database_url})
    assert (told.returncode, told.stdout) == (1, "")
    assert "there is no message 12345: no id so high was drawn yet" in told.stderr


def test_a_key_is_looked_for_in_a_channel_and_a_span(
    connection: Connection, database_url: str
) -> None:
    own(connection, "12", channel="other")
    message = own(connection, "12")
    told = outbox_relay(
        *("trace", "12", "--channel", "orders", "--since", "2026-01-01T00:00:00Z"),
        environment={"DATABASE_URL": database_url},
    )
    heads = [line for line in told.stdout.splitlines() if line.startswith("message")]
    assert heads == [f"message {message}: order.paid on orders, group g, priority 3"]


def test_a_group_is_told_message_by_message(connection: Connection, database_url: str) -> None:
    messages = [own(connection, f"k{number}", group="g-7") for number in range(3)]
    own(connection, "k9", group="another")
    told = outbox_relay("trace", "--group", "g-7", environment={"DATABASE_URL": database_url})
    ids = [line.split()[1] for line in told.stdout.splitlines() if line.startswith("message")]
    assert ids == [f"{message}:" for message in reversed(messages)]


def test_what_is_not_found_says_how_far_it_has_looked(connection: Connection) -> None:
    own(connection, "here")
    with pytest.raises(NotFoundError, match="key gone of channel orders is among the 1 messages"):
        trace.find(connection, Wanted(idempotency_key="gone", channel="orders"))


@pytest.mark.parametrize("arguments", [[], ["1", "--group", "g"]])
def test_it_takes_a_key_or_a_group(database_url: str, arguments: list[str]) -> None:
    told = outbox_relay("trace", *arguments, environment={"DATABASE_URL": database_url})
    assert told.returncode == 2
    assert "a KEY, or --group KEY" in told.stderr


def test_what_others_wrote_does_not_steer_a_terminal(connection: Connection) -> None:
    message = own(connection, "k", group="\x1b[2J")
    assert "\x1b" not in trace.render([trace.read(connection, message)])
