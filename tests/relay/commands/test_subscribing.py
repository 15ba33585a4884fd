"""Operators subscribe endpoints, pause, resume and test them."""

import pytest
from psycopg import errors

from relay.commands.arguments import setting
from relay.database import Connection
from relay.operate import endpoint, subscription, subscription_list
from relay.operate.not_found import NotFoundError
from relay.operate.subscription import NameTakenError
from tests.relay.commands.billing import ENDPOINT, FAIL, billing
from tests.relay.operating import outbox_relay, relay_role


def test_a_subscription_is_made_with_its_types_and_settings(
    connection: Connection, database_url: str
) -> None:
    made = outbox_relay(
        "subscriptions",
        "add",
        "billing",
        "--channel=orders",
        f"--endpoint={ENDPOINT}",
        "--type=order.paid",
        "--setting=on_exhausted=park",
        "--setting=retry.max_attempts=5",
        environment={"DATABASE_URL": database_url},
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("whsec_")
    row = connection.execute(
        "select kind, channels, types, settings from outbox.subscription where name = 'billing'"
    ).fetchone()
    settings = {"endpoint": ENDPOINT, "on_exhausted": "park", "retry": {"max_attempts": 5}}
    assert row == ("http", ["orders"], ["order.paid"], settings)


def test_a_subscription_is_made_with_every_channel_that_is_given(
    connection: Connection, database_url: str
) -> None:
    names = ("--channel=orders", "--channel=refunds", "--channel=orders.eu")
    made = outbox_relay(
        "subscriptions",
        "add",
        "billing",
        *names,
        f"--endpoint={ENDPOINT}",
        environment={"DATABASE_URL": database_url},
    )
    assert made.returncode == 0, made.stderr
    row = connection.execute(
        "select channels, cardinality(read_channels) from outbox.subscription where kind = 'http'"
    ).fetchone()
    assert row == (["orders", "refunds", "orders.eu"], 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on_exhausted=park", ("on_exhausted", "park")),
        ("retry.jitter=0.5", ("retry.jitter", 0.5)),
        ("retry.schedule_seconds=[1, 2]", ("retry.schedule_seconds", [1, 2])),
    ],
)
def test_a_setting_is_json_or_a_word(text: str, value: tuple[str, object]) -> None:
    assert setting(text) == value


def test_a_setting_that_does_not_fit_is_refused_by_name(connection: Connection) -> None:
    for settings, told in (({"retry.colour": 1}, "retry.colour"), ({"retry": 1}, "retry must")):
        with pytest.raises(errors.CheckViolation, match=told):
            subscription.add(connection, "x", channels=["c"], endpoint=ENDPOINT, settings=settings)


@pytest.mark.usefixtures("secret")
def test_a_name_that_is_taken_is_told(connection: Connection) -> None:
    with pytest.raises(NameTakenError, match="billing"):
        subscription.add(connection, "billing", channels=["c"], endpoint=ENDPOINT, settings={})


@pytest.mark.usefixtures("secret")
def test_what_is_paused_says_why_and_resumes_with_a_closed_breaker(
    connection: Connection,
) -> None:
    subscription.pause(connection, "billing", "database move")
    connection.execute(FAIL)
    assert (billing(connection).paused, billing(connection).paused_reason) == (
        True,
        "database move",
    )
    subscription.resume(connection, "billing")
    one = billing(connection)
    assert (one.paused, one.paused_reason, one.breaker) == (False, None, "closed")
    told = connection.execute(
        "select type from outbox.message where channel = 'outbox.events' order by id"
    ).fetchall()
    assert told[-2:] == [("subscription.paused",), ("subscription.resumed",)]


@pytest.mark.usefixtures("secret")
def test_a_test_message_goes_to_this_subscription_alone(
    connection: Connection,
) -> None:
    message_id = endpoint.send_test(connection, "billing")
    rows = connection.execute(
        "select name, message_id from outbox.delivery join outbox.cursor on cursor.id = cursor_id"
        " join outbox.subscription on subscription.id = subscription_id"
    ).fetchall()
    assert rows == [("billing", message_id)]
    assert {one.name: one.backlog for one in subscription_list.read(connection)} == {
        "billing": 0,
        "kafka": 0,
    }


def test_what_is_not_there_is_named(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="no http subscription kafka"):
        endpoint.send_test(connection, "kafka")
    with pytest.raises(NotFoundError, match="no subscription kafak"):
        subscription.pause(connection, "kafak", None)


def test_changing_a_subscription_needs_more_rights_than_a_relay_has(
    connection: Connection,
) -> None:
    with relay_role(connection) as url:
        refused = outbox_relay("subscriptions", "pause", "kafka", environment={"DATABASE_URL": url})
    assert (refused.returncode, "sql/roles.sql" in refused.stderr) == (1, True)
