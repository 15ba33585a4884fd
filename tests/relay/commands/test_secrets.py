"""Secrets are rotated, revoked and sealed, and shown once."""

import base64
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors

from relay import keyring
from relay.database import Connection
from relay.keyring import Keyring
from relay.operate import endpoint, subscription
from relay.secrets import at_rest
from tests.proxy import Proxy
from tests.relay.commands.billing import ENDPOINT
from tests.relay.operating import OTHER_KEY, SECRET_KEY, outbox_relay, relay_role


def test_a_new_secret_is_shown_and_the_old_one_serves_on(
    connection: Connection, secret: str
) -> None:
    assert endpoint.rotate_secret(connection, "billing") != secret
    row = connection.execute(
        "select count(*), count(*) filter (where expires_at > clock_timestamp() + '23 hours')"
        " from outbox.secret"
    ).fetchone()
    assert row == (2, 1)


def test_revoked_now_the_old_secret_is_gone(connection: Connection, database_url: str) -> None:
    environment = {"DATABASE_URL": database_url}
    subscription.add(connection, "billing", channels=["orders"], endpoint=ENDPOINT, settings={})
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
