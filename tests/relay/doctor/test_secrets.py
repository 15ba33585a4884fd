"""Secrets that do not open, or are not sealed, are told."""

import pytest

from relay.database import Connection
from relay.keyring import Keyring
from relay.operate import subscription
from tests.relay.doctor.examining import findings, found, subscribe
from tests.relay.operating import OTHER_KEY, SECRET_KEY


@pytest.mark.parametrize(
    ("doctors_keys", "level", "told"),
    [
        ("", "fault", "nothing is sent to billing"),
        (OTHER_KEY, "fault", "nothing is sent to billing"),
        (SECRET_KEY, "ok", "1, sealed with the newest key"),
        (f"{OTHER_KEY},{SECRET_KEY}", "warning", "1 by an older key"),
    ],
)
def test_a_secret_that_does_not_open_or_is_sealed_by_an_older_key_is_told(
    relay_url: str, connection: Connection, doctors_keys: str, level: str, told: str
) -> None:
    sealing = Keyring([SECRET_KEY])
    subscription.add(
        connection, "billing", channels=["o"], endpoint="https://a/", settings={}, keyring=sealing
    )
    (finding,) = [
        one for one in findings(relay_url, OUTBOX_SECRET_KEY=doctors_keys) if one.what == "secrets"
    ]
    assert (finding.level, told in finding.text) == (level, True), finding
    assert SECRET_KEY not in str(finding)


def test_secrets_that_are_not_sealed_are_told(relay_url: str, connection: Connection) -> None:
    subscribe(connection, "https://1.1.1.1/in")
    assert "can sign" in found(relay_url, "secrets").text
    (finding,) = [
        one for one in findings(relay_url, OUTBOX_SECRET_KEY=SECRET_KEY) if one.what == "secrets"
    ]
    assert (finding.level, "1 are not sealed" in finding.text) == ("warning", True)
