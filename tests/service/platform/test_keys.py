"""`outbox-service keys …`: keys are made, listed and revoked by the owner, and by no other role."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from service.cli import main
from service.web.access.keys import hash_of
from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS, Platform
from tests.service.meanwhile import waits_for


class Done(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    error: str


Command = Callable[..., Done]


@pytest.fixture
def command(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`outbox-service keys …` on the platform's database, as its owner unless said otherwise."""

    def run(*arguments: str, url: str = platform.database.info.dsn) -> Done:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setattr(sys, "argv", ["outbox-service", "keys", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        # Not what the service, in this process as well, logs meanwhile.
        lines = [line for line in written.out.splitlines(keepends=True) if " [" not in line]
        return Done(int(str(ended.value.code)), "".join(lines), written.err)

    return run


def listed(command: Command, name: str) -> dict[str, str]:
    """The line of `keys list` about a key, by its headings."""
    headings, *lines = [line.split("\t") for line in command("list").out.splitlines()]
    [line] = [line for line in lines if line[1] == name]
    return dict(zip(headings, line, strict=True))


def created(command: Command, *arguments: str) -> dict[str, str]:
    """The header with a new key."""
    code, made, error = command("create", *arguments)
    assert code == 0, error
    return {"Authorization": f"Bearer {made.strip()}"}


def test_a_key_is_made_listed_and_revoked(platform: Platform, command: Command) -> None:
    name = platform.name()
    headers = created(command, "--name", name, "--scope", "read", "--scope", "publish")
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    line = listed(command, name)
    assert (line["scopes"], line["channels"], line["state"]) == ("publish,read", "all", "active")
    assert line["expires"] == "never"
    assert command("revoke", line["id"]).code == 0
    assert listed(command, name)["state"].startswith("revoked 20")
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 401


def test_the_list_shows_no_key(platform: Platform, command: Command) -> None:
    secret = created(command, "--name", platform.name(), "--scope", "read")["Authorization"]
    assert secret.removeprefix("Bearer ok_") not in command("list").out


def test_a_key_is_limited_to_channels(platform: Platform, command: Command) -> None:
    name = platform.name()
    channels = ("--channel", "checkout.*", "--channel", "orders")
    headers = created(command, "--name", name, "--scope", "publish", *channels)
    assert listed(command, name)["channels"] == "checkout.*,orders"
    for channel, status in (("checkout.x", 201), ("orders", 201), ("orders.x", 403)):
        body = {"channelId": channel, "type": "t", "payload": 1}
        assert platform.send("POST", "/v1/messages", body, headers).status_code == status


def test_a_key_ends_after_days_or_on_a_day(platform: Platform, command: Command) -> None:
    name = platform.name()
    created(command, "--name", name, "--scope", "read", "--expires", "90d")
    ends = datetime.strptime(listed(command, name)["expires"], "%Y-%m-%d %H:%M%z")
    assert timedelta(days=89) < ends - datetime.now(UTC) < timedelta(days=91)
    for given, shown in (
        ("2087-03-01", "2087-03-01 00:00Z"),
        ("2087-03-01T12:30+02:00", "2087-03-01 10:30Z"),
    ):
        name = platform.name()
        created(command, "--name", name, "--scope", "read", "--expires", given)
        assert listed(command, name)["expires"] == shown


def test_a_key_that_has_ended_is_listed_as_expired(platform: Platform, command: Command) -> None:
    name = platform.name()
    created(command, "--name", name, "--scope", "read")
    platform.database.execute(
        """
        update outbox.api_key set created_at = now() - interval '2 days',
                                  expires_at = now() - interval '1 day' where name = %s
        """,
        [name],
    )
    assert listed(command, name)["state"] == "expired"


def test_the_list_shows_the_last_use(platform: Platform, command: Command) -> None:
    name = platform.name()
    headers = created(command, "--name", name, "--scope", "read")
    assert listed(command, name)["last used"] == "never"
    platform.http.get(SUBSCRIPTIONS, headers=headers)
    assert listed(command, name)["last used"].startswith("20")


@pytest.mark.parametrize("used", [False, True], ids=["for the first time", "again"])
def test_a_key_is_revoked_while_a_request_is_held_open(
    platform: Platform, command: Command, used: bool
) -> None:
    """By a service that stands still; it notes the use in a transaction that does not end."""
    name = platform.name()
    headers = created(command, "--name", name, "--scope", "read")
    if used:
        assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
        platform.database.execute(
            "update outbox.api_key_use set last_used_at = now() - interval '1 hour'"
        )
    key = headers["Authorization"].removeprefix("Bearer ")
    with psycopg.connect(platform.service_url) as held:
        row = held.execute("select name from outbox.use_key(%s)", [hash_of(key)]).fetchone()
        assert row == (name,)
        assert writes(platform, held)
        # If it waited, then until its own timeout, and it would fail.
        assert command("revoke", listed(command, name)["id"]).code == 0
        assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 401
        assert held.info.transaction_status == TransactionStatus.INTRANS


def writes(platform: Platform, session: psycopg.Connection[Any]) -> bool:
    """Whether its transaction has written something."""
    row = platform.database.execute(
        "select backend_xid is not null from pg_stat_activity where pid = %s",
        [session.info.backend_pid],
    ).fetchone()
    return row == (True,)


def test_a_key_is_revoked_while_its_request_waits_in_the_database(
    platform: Platform, command: Command
) -> None:
    name, channel = platform.name(), platform.name("c")
    headers = {**created(command, "--name", name, "--scope", "publish"), "Idempotency-Key": "k"}
    body = {"channelId": channel, "type": "t", "payload": 1}
    number = listed(command, name)["id"]
    with psycopg.connect(platform.database.info.dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(
            "insert into outbox.idempotent_request (api_key_id, key, fingerprint)"
            " values (%s, 'k', '')",
            [number],
        )
        waiting = pool.submit(platform.send, "POST", "/v1/messages", body, headers)
        eventually(lambda: waits_for(platform, other.info.backend_pid))
        assert command("revoke", number).code == 0
        waits_for(platform, other.info.backend_pid)
        refused = platform.send("POST", "/v1/messages", body, headers)
        assert refused.status_code == 401
        other.rollback()
        # It was allowed when it began.
        assert waiting.result().status_code == 201


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("revoke", "999999"), 1, "no key 999999"),
        (("create", "--name", "", "--scope", "read"), 1, "1 to 100 printable characters"),
        (("create", "--name", "x", "--scope", "everything"), 2, "--scope"),
        (("create", "--name", "\udcff", "--scope", "read"), 2, "--name: it is not UTF-8"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    command: Command, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = command(*arguments)
    assert (done.code, said in done.error) == (code, True), done.error


@pytest.mark.parametrize(
    "channel", ["", "*", "a b", "a*b", "**", "a%", "a\n", "é", "c" * 201, "a,b"]
)
def test_a_limit_that_no_channel_could_meet_is_refused(command: Command, channel: str) -> None:
    done = command("create", "--name", "x", "--scope", "read", "--channel", channel)
    assert (done.code, "a channel is a topic name" in done.error) == (1, True), done.error


@pytest.mark.parametrize("expires", ["0d", "-1d", "100000d", "soon", "90", "2030-13-01", ""])
def test_an_expiry_that_is_none_is_refused(command: Command, expires: str) -> None:
    done = command("create", "--name", "x", "--scope", "read", f"--expires={expires}")
    assert (done.code, "--expires: it must be" in done.error) == (2, True), done.error


@pytest.mark.parametrize("expires", ["2020-01-01", "0001-01-01T00:00+14:00", "9999-12-31"])
def test_a_key_does_not_end_before_it_is_made(command: Command, expires: str) -> None:
    done = command("create", "--name", "x", "--scope", "read", "--expires", expires)
    assert (done.code, "expires after it was made" in done.error) == (1, True), done.error


@pytest.mark.parametrize(
    "arguments", [("create", "--name", "x", "--scope", "read"), ("list",), ("revoke", "1")]
)
def test_the_login_of_the_service_does_nothing_with_keys_and_is_told_who_may(
    platform: Platform, command: Command, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments, url=platform.service_url)
    assert (done.code, done.out) == (1, "")
    login = conninfo_to_dict(platform.service_url)["user"]
    assert done.error.startswith(f"outbox-service: {login} may not do that")
    assert "a login that is postgres or a member of it" in done.error
    assert done.error.count("\n") == 1
