"""Secrets that lie sealed: requests are signed with them, and without their key nothing goes."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import generate_latest
from standardwebhooks.webhooks import Webhook

from relay.daemon import retention
from relay.keyring import Keyring
from relay.operate import endpoint
from relay.secrets import at_rest
from tests.relay.operating import OTHER_KEY, SECRET_KEY, outbox_relay, settings
from tests.relay.push.stage import ALLOWED, PushRelay, PushStage
from tests.sql.log import one

OpenWith = Callable[[str], PushRelay]
SECRETS = "select key, sealed from outbox.secret order by created_at desc"
WAITING = """
    select waiting_reason from outbox.subscription
    where waiting_reason is not null
"""


@pytest.fixture
def open_with(stage: PushStage) -> Iterator[OpenWith]:
    """Opens a relay that has these keys."""
    with ExitStack() as relays:
        yield lambda keys: relays.enter_context(PushRelay(stage.database_url, secret_key=keys))


def rotate(stage: PushStage, keys: str, revoke_old: str = "after_a_day") -> str:
    """A new secret of billing, sealed with the first of the keys."""
    keyring = Keyring(keys.split(","))
    return endpoint.rotate_secret(stage.db, "billing", revoke_old=revoke_old, keyring=keyring)


def maintain(relay: PushRelay) -> None:
    retention.maintain(relay.connection, relay.settings, relay.telemetry)


def verify(stage: PushStage, *secrets: str) -> None:
    """The latest request carries one signature by each of the secrets, and no other."""
    request = stage.receiver.requests[-1]
    for secret in secrets:
        Webhook(secret).verify(request.body, request.headers)
    assert len(request.header("webhook-signature").split(" ")) == len(secrets)


def test_a_sealed_secret_signs(stage: PushStage, open_with: OpenWith) -> None:
    stage.subscribe()
    secret = rotate(stage, SECRET_KEY, "now")
    [(key, sealed)] = stage.db.execute(SECRETS).fetchall()
    assert (key, base64.b64decode(secret.removeprefix("whsec_")) in sealed.encode()) == (
        None,
        False,
    )
    stage.publish("a:1")
    open_with(SECRET_KEY).drain()
    verify(stage, secret)


def test_a_secret_that_plain_sql_made_is_sealed_by_a_relay_and_signs_on(
    stage: PushStage, open_with: OpenWith
) -> None:
    subscription_id = stage.subscribe()
    first = one(stage.db, "select 'whsec_' || encode(key, 'base64') from outbox.secret")
    second = one(stage.db, "select outbox.rotate_secret(%s)", subscription_id)
    relay = open_with(SECRET_KEY)
    maintain(relay)
    assert [key for key, _ in stage.db.execute(SECRETS).fetchall()] == [None, None]
    stage.publish("a:1")
    relay.drain()
    verify(stage, first, second)


def test_without_a_key_secrets_stay_as_they_are(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    before = stage.db.execute(SECRETS).fetchall()
    maintain(relay)
    assert stage.db.execute(SECRETS).fetchall() == before


def test_what_an_older_key_sealed_is_sealed_anew_so_that_the_older_one_may_go(
    stage: PushStage, open_with: OpenWith
) -> None:
    stage.subscribe()
    secret = rotate(stage, SECRET_KEY, "now")
    both = open_with(f"{OTHER_KEY},{SECRET_KEY}")
    stage.publish("a:1")
    both.drain()
    verify(stage, secret)
    maintain(both)
    stage.publish("a:2")
    open_with(OTHER_KEY).drain()
    assert stage.keys() == ["a:1", "a:2"]
    verify(stage, secret)


def test_a_second_round_seals_nothing_again(stage: PushStage, open_with: OpenWith) -> None:
    stage.subscribe()
    relay = open_with(f"{OTHER_KEY},{SECRET_KEY}")
    maintain(relay)
    once = stage.db.execute(SECRETS).fetchall()
    maintain(relay)
    assert stage.db.execute(SECRETS).fetchall() == once


@pytest.mark.parametrize("keys", ["", OTHER_KEY])
def test_without_its_key_a_subscription_waits_and_the_others_go_on(
    stage: PushStage, open_with: OpenWith, keys: str
) -> None:
    stage.subscribe("billing")
    secret = rotate(stage, SECRET_KEY, "now")
    stage.subscribe("other")
    stage.publish("a:1", "a:2", "b:1")
    relay = open_with(keys)
    relay.drain()
    assert stage.receiver.counts() == {"/other": 3}
    # Nothing is used up: no attempt, no row, no dead letter, and the breaker is closed.
    assert (stage.rows(), stage.dead_letters(), stage.breaker()) == ([], [], "closed")
    assert (
        stage.count(
            "select count(*) from outbox.attempt a join outbox.subscription s"
            " on s.id = a.subscription_id where s.name = 'billing'"
        )
        == 0
    )
    [(reason,)] = stage.db.execute(WAITING).fetchall()
    assert "OUTBOX_SECRET_KEY" in reason
    metrics = generate_latest(relay.telemetry.registry).decode()
    assert 'outbox_relay_faults_total{kind="secret",subscription="billing"} 1.0' in metrics
    open_with(f"{OTHER_KEY},{SECRET_KEY}").drain()
    assert [key for key in stage.keys("billing") if key[0] == "a"] == ["a:1", "a:2"]
    assert stage.db.execute(WAITING).fetchall() == []
    Webhook(secret).verify(
        stage.receiver.received("/billing")[0].body, stage.receiver.received("/billing")[0].headers
    )


def test_it_goes_on_in_the_same_relay_once_there_is_a_secret_that_opens(
    stage: PushStage, open_with: OpenWith
) -> None:
    """As the hint says that the log names."""
    stage.subscribe()
    rotate(stage, SECRET_KEY, "now")
    relay = open_with(OTHER_KEY)
    stage.publish("a:1")
    relay.drain()
    assert stage.keys() == []
    secret = rotate(stage, OTHER_KEY, "now")
    relay.drain()
    assert stage.keys() == ["a:1"]
    verify(stage, secret)
    assert stage.db.execute(WAITING).fetchall() == []


def test_while_it_waits_nothing_is_written(stage: PushStage, open_with: OpenWith) -> None:
    stage.subscribe()
    rotate(stage, SECRET_KEY, "now")
    relay = open_with("")
    stage.publish("a:1")
    relay.drain()
    # A claim would lock the cursor, and that is a write.
    rows = (
        "select id, xmin, xmax from outbox.cursor union all"
        " select -id, xmin, xmax from outbox.subscription order by 1"
    )
    before = stage.db.execute(rows).fetchall()
    for _ in range(20):
        relay.round()
    assert stage.db.execute(rows).fetchall() == before


def test_while_one_of_two_secrets_does_not_open_it_waits(
    stage: PushStage, open_with: OpenWith
) -> None:
    """A receiver may know the old one only."""
    stage.subscribe()
    old = rotate(stage, SECRET_KEY, "now")
    new = rotate(stage, OTHER_KEY)
    stage.publish("a:1")
    open_with(OTHER_KEY).drain()
    assert stage.keys() == []
    open_with(f"{OTHER_KEY},{SECRET_KEY}").drain()
    verify(stage, old, new)


def test_an_expired_secret_that_does_not_open_holds_up_nothing(
    stage: PushStage, open_with: OpenWith
) -> None:
    stage.subscribe()
    rotate(stage, SECRET_KEY, "now")
    new = rotate(stage, OTHER_KEY)
    stage.db.execute("update outbox.secret set expires_at = now() where expires_at is not null")
    stage.publish("a:1")
    open_with(OTHER_KEY).drain()
    verify(stage, new)


@pytest.mark.parametrize(
    "change",
    [
        "delete from outbox.secret",
        "update outbox.secret set expires_at = now()",
        # One of its bits is another.
        "update outbox.secret set sealed = translate(sealed, 'abcdef', 'bcdefa')",
    ],
)
def test_nothing_goes_unsigned_or_signed_with_what_was_changed(
    stage: PushStage, open_with: OpenWith, change: str
) -> None:
    stage.subscribe()
    rotate(stage, SECRET_KEY, "now")
    stage.db.execute(change.encode())
    stage.publish("a:1")
    open_with(SECRET_KEY).drain()
    assert (stage.keys(), stage.rows()) == ([], [])
    assert len(stage.db.execute(WAITING).fetchall()) == 1


def test_keys_are_in_no_text_of_what_holds_them(
    stage: PushStage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.subscribe()
    [(key, _)] = stage.db.execute(SECRETS).fetchall()
    held = [
        settings(stage.database_url, OUTBOX_SECRET_KEY=f"{SECRET_KEY},{OTHER_KEY}"),
        Keyring([SECRET_KEY]),
        *at_rest._secrets(stage.db),
        at_rest.look(stage.db, Keyring([SECRET_KEY])),
    ]
    shown = repr(held) + str(held)
    for text in (SECRET_KEY, OTHER_KEY, repr(key), repr(key)[2:20], key.hex()):
        assert text not in shown


def test_revoked_now_the_old_secret_signs_nothing_more(stage: PushStage, relay: PushRelay) -> None:
    subscription_id = stage.subscribe()
    one(stage.db, "select outbox.rotate_secret(%s)", subscription_id)
    alone = one(stage.db, "select outbox.rotate_secret(%s, revoke_old => 'now')", subscription_id)
    stage.publish("a:1")
    relay.drain()
    verify(stage, alone)


@pytest.mark.long
def test_a_relay_without_the_key_says_what_it_waits_for_and_never_a_key(stage: PushStage) -> None:
    stage.subscribe()
    secret = rotate(stage, SECRET_KEY, "now")
    stage.publish("a:1")
    environment = {"DATABASE_URL": stage.database_url, "OUTBOX_SECRET_KEY": OTHER_KEY, **ALLOWED}
    ran = outbox_relay("run", "--once", environment=environment)
    told = ran.stdout + ran.stderr
    assert ran.returncode == 1, told
    assert "subscription_waits" in told
    assert "rotate-secret NAME --revoke-old now" in told
    shown = outbox_relay("status", environment=environment).stdout
    assert "is sealed with another key than OUTBOX_SECRET_KEY has" in shown
    for text in (SECRET_KEY, OTHER_KEY, secret.removeprefix("whsec_")):
        assert text not in told + shown
    environment["OUTBOX_SECRET_KEY"] = SECRET_KEY
    ran = outbox_relay("run", "--once", environment=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    verify(stage, secret)
