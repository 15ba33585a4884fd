"""Arguments and variables in whatever bytes: read as UTF-8, or refused by a sentence."""

import os
import subprocess

import psycopg
import pytest

from local.program import script
from relay.commands.arguments import setting, words
from tests.relay.operating import outbox_relay

NOWHERE = "postgresql://relay@127.0.0.1:1/shop"
LATIN = os.fsdecode(b"caf\xe9")
# What Python reads in it, no terminal would write.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("place", [1, 2, 4])
def test_an_argument_that_is_not_utf_8_is_told(place: int) -> None:
    command = ["subscriptions", "pause", "kafka", "--reason", "moving"]
    command[place] = LATIN
    refused = outbox_relay(*command, environment={"DATABASE_URL": NOWHERE})
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"argument {place + 1} is not UTF-8" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "command", "name"),
    [
        ("outbox-relay", ["status"], "DATABASE_URL"),
        ("outbox-relay", ["status"], "KAFKA_CLIENT_ID"),
        ("outbox-relay", ["status"], "RELAY_LOG_LEVEL"),
        ("outbox-relay", ["status"], "OUTBOX_SECRET_KEY"),
        ("outbox-service", ["keys", "list"], "DATABASE_URL"),
        ("outbox-service", ["keys", "list"], "SERVICE_HOSTS"),
        ("outbox-service", ["keys", "list"], "WEBHOOK_SECRET"),
        ("outbox-service", ["keys", "list"], "OUTBOX_SECRET_KEY"),
    ],
)
def test_a_variable_that_is_not_utf_8_is_told(program: str, command: list[str], name: str) -> None:
    refused = subprocess.run(
        [script(program), *command],
        env={"DATABASE_URL": NOWHERE, name: f"{NOWHERE}{LATIN}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (refused.returncode, refused.stderr) == (
        2,
        f"{program}: {name} is not UTF-8{MEND[program]}\n",
    )


MEND = {"outbox-relay": ": write it so", "outbox-service": "; write it so"}


def test_a_webhook_secret_in_other_letters_is_told() -> None:
    refused = subprocess.run(
        [script("outbox-service"), "keys", "list"],
        env={"DATABASE_URL": NOWHERE, "WEBHOOK_SECRET": "whsec_café"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (refused.returncode, "WEBHOOK_SECRET must be" in refused.stderr) == (2, True)


def test_in_a_locale_of_ascii_alone_utf_8_is_understood(database_url: str) -> None:
    paused = outbox_relay(
        "subscriptions", "pause", "kafka", "--reason", "Umzug läuft 👋",
        environment={"DATABASE_URL": database_url, **C_LOCALE},
    )  # fmt: skip
    assert paused.returncode == 0, paused.stderr
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select paused_reason from outbox.subscription").fetchone()
    assert row == ("Umzug läuft 👋",)


@pytest.mark.parametrize(
    "value", [r'"\u0000"', r'"a\ud800"', r'["\udfff"]', r'{"a\u0000": [1]}', r'{"a": ["\u0000"]}']
)
def test_a_setting_that_the_database_could_not_store_is_refused_by_its_path(value: str) -> None:
    refused = outbox_relay(
        "subscriptions", "add", "billing", "--channel=c", "--endpoint=https://a.example/",
        f"--setting=retry={value}", environment={"DATABASE_URL": NOWHERE},
    )  # fmt: skip
    assert refused.returncode == 2
    assert "retry holds a NUL or half a surrogate pair" in refused.stderr


def test_what_looks_like_an_escape_and_is_none_is_a_setting_like_others() -> None:
    assert setting(r'a="\\u0000 👋"') == ("a", r"\u0000 👋")
    assert words(["ß", "a"]) == ["ß", "a"]
