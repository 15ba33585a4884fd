"""Who may use the API: keys, scopes, and the commands that make them."""

import sys
from collections.abc import Callable

import pytest

from service.app import main
from service.events.api import OPERATIONS
from service.events.operation import Operation
from service.keys import SCOPES
from tests.service.platform import SUBSCRIPTIONS, Platform


def path(operation: Operation) -> str:
    return operation.path.replace("{id}", "999999999")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ok_unknown", "Basic b2s6b2s=", "ok_unknown", "Bearer \xe9"],
)
def test_without_a_valid_key_every_operation_is_401(
    platform: Platform, authorization: str | None
) -> None:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin1"))]
    for operation in OPERATIONS:
        answer = platform.http.request(operation.method, path(operation), headers=headers)
        assert answer.status_code == 401, operation
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_allows_and_nothing_else(
    platform: Platform, scope: str
) -> None:
    headers = platform.key(*(one for one in SCOPES if one == scope))
    for operation in OPERATIONS:
        answer = platform.http.request(operation.method, path(operation), headers=headers)
        if operation.scope == scope:
            assert answer.status_code not in (401, 403), operation
        else:
            assert answer.status_code == 403, operation
            assert f"scope {operation.scope}" in answer.json()["detail"]


def test_a_revoked_key_is_refused_from_the_next_request_on(platform: Platform) -> None:
    headers = platform.key("read")
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    platform.database.execute(
        """
        update outbox.api_key set revoked_at = now()
        where id = (select max(id) from outbox.api_key)
        """
    )
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 401


def test_a_method_that_a_path_does_not_have_is_405_and_names_those_it_has(
    platform: Platform,
) -> None:
    answer = platform.send("PUT", f"{SUBSCRIPTIONS}/1")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PATCH"}
    assert platform.send("HEAD", SUBSCRIPTIONS).status_code == 200


def test_a_path_with_a_slash_too_many_is_404_and_redirects_nowhere(platform: Platform) -> None:
    answer = platform.send("GET", f"{SUBSCRIPTIONS}/")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_no_key_is_stored(platform: Platform) -> None:
    secret = platform.key("read")["Authorization"].removeprefix("Bearer ")
    rows = platform.database.execute("select k::text from outbox.api_key as k").fetchall()
    assert secret.removeprefix("ok_") not in str(rows)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`outbox-service keys …` on the same database, as the service's own login.

    Gives its exit code and what it wrote to stdout and stderr.
    """
    monkeypatch.setenv("DATABASE_URL", platform.service_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["outbox-service", "keys", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(str(ended.value.code)), written.out, written.err

    return run


def test_a_key_is_made_listed_and_revoked_by_command(platform: Platform, command: Command) -> None:
    name = platform.name()
    code, made, error = command("create", "--name", name, "--scope", "read", "--scope", "publish")
    assert code == 0, error
    headers = {"Authorization": f"Bearer {made.strip()}"}
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    _, listed, _ = command("list")
    [line] = [line.split("\t") for line in listed.splitlines() if f"\t{name}\t" in line]
    assert (line[2], line[4]) == ("publish,read", "active")
    assert made.strip() not in listed
    assert command("revoke", line[0])[0] == 0
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 401


def test_a_command_that_cannot_be_done_says_why(command: Command) -> None:
    code, _, error = command("revoke", "999999")
    assert (code, "no key 999999" in error) == (1, True)
    code, _, error = command("create", "--name", "", "--scope", "read")
    assert (code, "1 to 100 printable characters" in error) == (1, True)
    assert command("create", "--name", "x", "--scope", "everything")[0] == 2
    code, _, error = command("create", "--name", "\udcff", "--scope", "read")
    assert (code, "--name: it is not UTF-8" in error) == (2, True)
