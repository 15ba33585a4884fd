"""Operators subscribe endpoints, see how they do, pause, resume, test and replay them."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors

from relay import keyring
from relay.commands.arguments import setting
from relay.database import Connection
from relay.keyring import Keyring
from relay.monitoring import status
from relay.operate import replay, status_text, subscriptions
from relay.operate.not_found import NotFoundError
from relay.operate.subscriptions import NameTakenError
from relay.secrets import at_rest
from tests.proxy import Proxy
from tests.relay.operating import OTHER_KEY, SECRET_KEY, outbox_relay, publish, relay_role

ENDPOINT = "https://billing.example.com/in?token=hunter2"


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def secret(connection: Connection) -> str:
    """That of `billing`, which is subscribed to channel `orders`."""
    return subscriptions.add(
        connection, "billing", channels=["orders"], endpoint=ENDPOINT, settings={}
    )


FAIL = """
    update outbox.breaker
    set failing_since = clock_timestamp() - interval '6 days', opened_at = clock_timestamp(),
        retry_at = clock_timestamp() + interval '1 hour'
"""
ROW = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at, token)
    select cursor.id, %(id)s, %(group)s, 1,
           case %(state)s when 'behind' then null when 'parked' then 'infinity'
               else clock_timestamp() + interval '1 hour' end,
           case %(state)s when 'in_flight' then 7 end
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""


def billing(connection: Connection) -> subscriptions.Subscription:
    (one,) = [one for one in subscriptions.read(connection) if one.name == "billing"]
    return one


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
            subscriptions.add(connection, "x", channels=["c"], endpoint=ENDPOINT, settings=settings)


@pytest.mark.usefixtures("secret")
def test_a_name_that_is_taken_is_told(connection: Connection) -> None:
    with pytest.raises(NameTakenError, match="billing"):
        subscriptions.add(connection, "billing", channels=["c"], endpoint=ENDPOINT, settings={})


@pytest.mark.usefixtures("secret")
def test_the_list_tells_how_the_endpoint_does_and_never_its_token(
    connection: Connection, database_url: str
) -> None:
    publish(connection)
    connection.execute(FAIL)
    for number, state in enumerate(("retrying", "in_flight", "parked", "behind")):
        group = "2" if state == "behind" else str(number)
        connection.execute(ROW, {"id": number, "group": group, "state": state})
    one = billing(connection)
    assert (one.breaker, one.backlog) == ("open", 1)
    assert (one.retrying, one.in_flight, one.parked, one.behind) == (1, 1, 1, 1)
    told = outbox_relay("subscriptions", "--json", environment={"DATABASE_URL": database_url})
    shown = {row["name"]: row for row in json.loads(told.stdout)}
    assert shown["billing"]["endpoint"] == "https://billing.example.com/…"
    assert shown["kafka"]["breaker"] is None
    text = subscriptions.render(subscriptions.read(connection))
    assert "open until" in text
    assert "hunter2" not in text + told.stdout


@pytest.mark.usefixtures("secret")
def test_status_tells_the_breaker_and_the_rows(connection: Connection) -> None:
    connection.execute(ROW, {"id": 1, "group": "g", "state": "retrying"})
    now = status.read(connection)
    assert {one.name: one.kind for one in now.subscriptions} == {
        "billing": "http",
        "kafka": "kafka",
    }
    (endpoint,) = now.endpoints
    assert (endpoint.breaker, endpoint.retrying) == ("closed", 1)
    assert endpoint.next_due_seconds is not None
    assert 3500 < endpoint.next_due_seconds <= 3600
    assert "in 59m" in status_text.render(now)


@pytest.mark.usefixtures("secret")
def test_what_is_paused_says_why_and_resumes_with_a_closed_breaker(
    connection: Connection,
) -> None:
    subscriptions.pause(connection, "billing", "database move")
    connection.execute(FAIL)
    assert (billing(connection).paused, billing(connection).paused_reason) == (
        True,
        "database move",
    )
    subscriptions.resume(connection, "billing")
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
    message_id = subscriptions.send_test(connection, "billing")
    rows = connection.execute(
        "select name, message_id from outbox.delivery join outbox.cursor on cursor.id = cursor_id"
        " join outbox.subscription on subscription.id = subscription_id"
    ).fetchall()
    assert rows == [("billing", message_id)]
    assert {one.name: one.backlog for one in subscriptions.read(connection)} == {
        "billing": 0,
        "kafka": 0,
    }


def test_a_new_secret_is_shown_and_the_old_one_serves_on(
    connection: Connection, secret: str
) -> None:
    assert subscriptions.rotate_secret(connection, "billing") != secret
    row = connection.execute(
        "select count(*), count(*) filter (where expires_at > clock_timestamp() + '23 hours')"
        " from outbox.secret"
    ).fetchone()
    assert row == (2, 1)


def test_revoked_now_the_old_secret_is_gone(connection: Connection, database_url: str) -> None:
    environment = {"DATABASE_URL": database_url}
    subscriptions.add(connection, "billing", channels=["orders"], endpoint=ENDPOINT, settings={})
    rotate = ["subscriptions", "rotate-secret", "billing"]
    assert outbox_relay(*rotate, environment=environment).returncode == 0
    rotated = outbox_relay(*rotate, "--revoke-old", "now", environment=environment)
    kept = connection.execute("select encode(key, 'base64') from outbox.secret").fetchall()
    assert [f"whsec_{key}" for (key,) in kept] == [rotated.stdout.strip()]


def test_sql_knows_two_words_for_the_old_secret(connection: Connection, secret: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="now or after_a_day"):
        connection.execute("select outbox.rotate_secret(max(id), 'soon') from outbox.subscription")
    with pytest.raises(errors.InvalidParameterValue, match="now or after_a_day"):
        connection.execute("select outbox.rotate_secret(max(id), null) from outbox.subscription")
    kept = connection.execute("select encode(key, 'base64') from outbox.secret").fetchall()
    assert [f"whsec_{key}" for (key,) in kept] == [secret]


def test_with_a_key_the_commands_seal_what_they_show(
    connection: Connection, database_url: str
) -> None:
    environment = {"DATABASE_URL": database_url, "OUTBOX_SECRET_KEY": SECRET_KEY}
    added = outbox_relay(
        "subscriptions", "add", "billing", "--channel", "orders", "--endpoint", ENDPOINT,
        environment=environment,
    )  # fmt: skip
    rotated = outbox_relay("subscriptions", "rotate-secret", "billing", environment=environment)
    found = connection.execute("select key, sealed from outbox.secret order by created_at")
    stored = found.fetchall()
    ring = Keyring([SECRET_KEY])
    shown = [
        base64.b64decode(one.stdout.strip().removeprefix("whsec_")) for one in (added, rotated)
    ]
    assert [key for key, _ in stored] == [None, None]
    assert [ring.open(sealed) for _, sealed in stored] == shown


def test_secrets_are_sealed_by_a_command_and_what_does_not_open_is_named(
    connection: Connection, database_url: str, secret: str
) -> None:
    environment = {"DATABASE_URL": database_url, "OUTBOX_SECRET_KEY": SECRET_KEY}
    sealed = outbox_relay("secrets", "seal", environment=environment)
    assert sealed.stdout == "sealed: 1, sealed anew: 0, already: 0\n"
    environment["OUTBOX_SECRET_KEY"] = f"{OTHER_KEY},{SECRET_KEY}"
    sealed = outbox_relay("secrets", "seal", environment=environment)
    assert sealed.stdout == "sealed: 0, sealed anew: 1, already: 0\n"
    environment["OUTBOX_SECRET_KEY"] = SECRET_KEY
    sealed = outbox_relay("secrets", "seal", environment=environment)
    assert (sealed.returncode, "billing" in sealed.stderr) == (1, True)
    row = connection.execute("select key, sealed from outbox.secret").fetchone()
    assert row is not None
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert (row[0], Keyring([OTHER_KEY]).open(row[1])) == (None, key)


def test_a_relays_role_seals_and_puts_nothing_back(connection: Connection, secret: str) -> None:
    with relay_role(connection) as url, psycopg.connect(url, autocommit=True) as relay:
        found = at_rest.seal(relay, Keyring([SECRET_KEY]))
        assert found.plain == 1
        seal = "select outbox.seal_secret(subscription_id, created_at, %s) from outbox.secret"
        forged = Keyring([OTHER_KEY]).seal(b"k" * 32)
        # What is sealed stays so, unless it is known what it is.
        assert relay.execute(seal, (forged,)).fetchall() == [(False,)]
        with pytest.raises(errors.CheckViolation):
            relay.execute(
                "select outbox.seal_secret(subscription_id, created_at, null, sealed)"
                " from outbox.secret"
            )
    row = connection.execute("select sealed from outbox.secret").fetchone()
    assert row is not None
    assert Keyring([SECRET_KEY]).open(row[0]) == base64.b64decode(secret.removeprefix("whsec_"))


def test_sealing_sends_no_key_back_to_the_server_which_might_log_it(
    database_url: str, secret: str
) -> None:
    seen = bytearray()
    with Proxy(urlsplit(database_url).port or 0) as proxy:
        proxy.watch = seen.extend
        with psycopg.connect(proxy.url(database_url), autocommit=True) as relay:
            assert at_rest.seal(relay, Keyring([SECRET_KEY])).plain == 1
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert b"gAAAA" in seen
    found = [one for one in (key, key.hex().encode(), base64.b64encode(key)) if one in seen]
    assert found == []


def test_a_new_key_needs_no_database_and_no_settings() -> None:
    made = outbox_relay("secrets", "new-key", environment={"OUTBOX_SECRET_KEY": "hunter2"})
    assert (made.returncode, len(keyring.parse(made.stdout))) == (0, 1)


def test_without_a_key_there_is_nothing_to_seal_with(database_url: str) -> None:
    told = outbox_relay("secrets", "seal", environment={"DATABASE_URL": database_url})
    assert (told.returncode, "outbox-relay secrets new-key" in told.stderr) == (2, True)


def test_what_is_not_there_is_named(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="no http subscription kafka"):
        subscriptions.send_test(connection, "kafka")
    with pytest.raises(NotFoundError, match="no subscription kafak"):
        subscriptions.pause(connection, "kafak", None)
    with pytest.raises(NotFoundError, match="no subscription kafak"):
        replay.replay(connection, "kafak", from_message_id=publish(connection))
    with pytest.raises(NotFoundError, match="no message 12345"):
        replay.replay(connection, "kafka", from_message_id=12345)


def test_changing_a_subscription_needs_more_rights_than_a_relay_has(
    connection: Connection,
) -> None:
    with relay_role(connection) as url:
        refused = outbox_relay("subscriptions", "pause", "kafka", environment={"DATABASE_URL": url})
    assert (refused.returncode, "sql/roles.sql" in refused.stderr) == (1, True)


PASS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'test' from outbox.checkpoint
    group by cursor_id
"""


@pytest.mark.usefixtures("secret")
def test_a_replay_is_counted_dry_and_then_waits_to_be_sent(
    connection: Connection, database_url: str
) -> None:
    _, second, _ = (publish(connection) for _ in range(3))
    connection.execute(PASS)
    assert replay.replay(connection, "billing", from_message_id=second, dry_run=True) == 2
    assert billing(connection).backlog == 0
    environment = {"DATABASE_URL": database_url}
    told = outbox_relay("replay", "billing", "--from-message", str(second), environment=environment)
    assert (told.returncode, told.stdout) == (0, "replayed: 2\n")
    assert billing(connection).backlog == 2


def test_a_replay_does_not_wait_for_ever(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = publish(connection)
    monkeypatch.setattr(replay, "BOUNDS", replay.BOUNDS.replace("15s", "10ms"))
    with psycopg.connect(database_url) as run:
        run.execute("select from outbox.cursor for no key update")
        with pytest.raises(errors.LockNotAvailable):
            replay.replay(connection, "kafka", from_message_id=message_id)
