"""Which key a request carries: refused early where it is none, looked up anew where it is one."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.database.transaction import Transaction
from service.payments import retention, served
from service.platform import keys
from service.settings import Settings
from service.web.access import authorization
from service.web.access.keys import hash_of
from service.web.monitoring import refusals
from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS, Platform

WELL_FORMED = "ok_" + "A" * 43
# Form by form what the database need not be asked about.
NO_KEYS: dict[str, str] = {
    "another prefix": "sk_" + "A" * 43,
    "no prefix": "A" * 46,
    "the prefix in capitals": "OK_" + "A" * 43,
    "too short": WELL_FORMED[:-1],
    "too long": WELL_FORMED + "A",
    "very long": "ok_" + "A" * 4000,
    "another alphabet": "ok_" + "+" * 43,
    "padded": "ok_" + "A" * 42 + "=",
    "more bits than a key has": "ok_" + "A" * 42 + "B",
    "not ASCII": "ok_" + "A" * 42 + "\xe9",
    "digits of another script": "ok_" + "A" * 42 + "\xb2",
    "two": f"{WELL_FORMED} {WELL_FORMED}",
    "two, as a list": f"{WELL_FORMED}, {WELL_FORMED}",
    "a form feed behind": WELL_FORMED + "\x0c",
}


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The parameters of every statement that reads rows for a request, from now on."""
    seen: list[object] = []
    select = Transaction.select

    def watch(self: Transaction, row: type, statement: str, parameters: object) -> object:
        # Months are turned in the background, where payments are served, whenever that is.
        if statement not in (retention.TURN, served.FIND):
            seen.append(parameters)
        return select(self, row, statement, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(Transaction, "select", watch)
    return seen


def status(platform: Platform, *authorizations: str) -> int:
    headers = [(b"Authorization", one.encode("latin1")) for one in authorizations]
    return platform.http.get(SUBSCRIPTIONS, headers=headers).status_code


@pytest.mark.parametrize("kind", NO_KEYS)
def test_what_cannot_be_a_key_is_refused_before_the_database(
    platform: Platform, queries: list[object], kind: str
) -> None:
    assert status(platform, f"Bearer {NO_KEYS[kind]}") == 401
    assert queries == []


def test_every_key_that_is_made_has_the_form_of_one(platform: Platform) -> None:
    for _ in range(100):
        made = keys.create(platform.database, "form", ["read"])
        assert authorization.BEARER.key(f"Bearer {made}") == made


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_known_in_any_case(platform: Platform, scheme: str) -> None:
    _, _, key = platform.key("read")["Authorization"].partition(" ")
    assert status(platform, f"{scheme} {key}") == 200
    assert status(platform, f"{scheme}  {key} ") == 200


@pytest.mark.parametrize("scheme", ["Basic", "Bearer:", "Token", "", "Bearer Bearer", "B\xe9arer"])
def test_another_scheme_is_refused(platform: Platform, scheme: str) -> None:
    _, _, key = platform.key("read")["Authorization"].partition(" ")
    authorization = f"{scheme} {key}".encode()
    answer = platform.http.get(SUBSCRIPTIONS, headers=[(b"Authorization", authorization)])
    assert answer.status_code == 401


def test_two_headers_with_keys_are_refused(platform: Platform, queries: list[object]) -> None:
    """Whichever would count: a proxy may have read the other one."""
    good = platform.key("read")["Authorization"]
    for pair in ((good, good), (good, ""), ("", good), (good, f"Bearer {WELL_FORMED}")):
        assert status(platform, *pair) == 401
    assert queries == []


def test_a_guess_that_is_repeated_is_not_looked_up_each_time(
    platform: Platform, queries: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization, "UNKNOWN_SECONDS", 600.0)
    guess = "Bearer ok_" + "g" * 42 + "A"
    for _ in range(20):
        assert status(platform, guess) == 401
    assert len(queries) == 1


def test_a_key_that_is_made_meanwhile_works_soon(platform: Platform) -> None:
    """What a caller tried before its key was there is not held against it."""
    made = keys.create(platform.database, "late", ["read"])
    platform.database.execute("update outbox.api_key set revoked_at = now() where name = 'late'")
    assert status(platform, f"Bearer {made}") == 401
    platform.database.execute("update outbox.api_key set revoked_at = null where name = 'late'")
    began = time.monotonic()
    eventually(lambda: _is(status(platform, f"Bearer {made}") == 200))
    assert authorization.UNKNOWN_SECONDS <= 1.0
    assert time.monotonic() - began < 30


def _is(condition: bool) -> None:
    assert condition


def test_guesses_take_bounded_memory() -> None:
    unknown = authorization.UnknownKeys()
    hashes = [hash_of(str(number)) for number in range(authorization.MAX_UNKNOWN + 10)]
    for each in hashes:
        unknown.add(each)
        unknown.add(each)
    assert len(unknown._until) == authorization.MAX_UNKNOWN
    assert hashes[-1] in unknown
    assert hashes[0] not in unknown


def test_a_key_that_has_ended_is_refused_from_the_next_request_on(platform: Platform) -> None:
    headers = platform.key("read", expires=timedelta(hours=1))
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    platform.database.execute(
        """
        update outbox.api_key
        set created_at = now() - interval '2 hours', expires_at = clock_timestamp()
        where id = (select max(id) from outbox.api_key)
        """
    )
    answer = platform.http.get(SUBSCRIPTIONS, headers=headers)
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)


LAST_USED = """
    select last_used_at, xmin::text from outbox.api_key_use order by api_key_id desc limit 1
"""


def last_use(platform: Platform) -> tuple[object, ...]:
    row = platform.database.execute(LAST_USED).fetchone()
    assert row is not None
    return tuple(row)


def test_a_use_is_noted_once_a_minute(platform: Platform) -> None:
    headers = platform.key("read")
    assert last_use(platform)[0] is None
    platform.http.get(SUBSCRIPTIONS, headers=headers)
    noted = last_use(platform)
    assert noted[0] is not None
    for _ in range(3):
        platform.http.get(SUBSCRIPTIONS, headers=headers)
    assert last_use(platform) == noted
    platform.database.execute(
        """
        update outbox.api_key_use set last_used_at = clock_timestamp() - interval '61 seconds'
        where api_key_id = (select max(id) from outbox.api_key)
        """
    )
    before = last_use(platform)
    platform.http.get(SUBSCRIPTIONS, headers=headers)
    assert last_use(platform) > before


def test_noting_a_use_waits_for_no_lock(platform: Platform) -> None:
    headers = platform.key("read")
    with psycopg.connect(platform.database.info.dsn) as other:
        other.execute("select from outbox.api_key_use for update")
        assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    assert last_use(platform)[0] is None


def test_a_key_is_known_where_nothing_can_be_written(platform: Platform) -> None:
    key = platform.key("read")["Authorization"].removeprefix("Bearer ")
    with psycopg.connect(platform.service_url) as session:
        session.read_only = True
        row = session.execute("select scopes from outbox.use_key(%s)", [hash_of(key)]).fetchone()
    assert row == (["read"],)
    assert last_use(platform)[0] is None


@contextmanager
def called_from(address: str, database_url: str) -> Iterator[TestClient]:
    """A service whose only caller has this address."""
    app = create_app(Settings(database_url=database_url, pool_size=2))
    with TestClient(app, client=(address, 50000), raise_server_exceptions=False) as client:
        yield client


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about refused requests since the last look, but those of `platform`."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if "unauthorized" in line and "=testclient" not in line]


def test_a_refusal_is_logged_with_the_address_and_never_with_the_key(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One second for all three, however long this machine takes.
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 3600.0)
    guess = "ok_" + "s" * 42 + "A"
    with called_from("203.0.113.7", database_url) as client:
        for sent in (f"Bearer {guess}", f"Basic {guess}", f"Bearer {guess}x"):
            path = f"{SUBSCRIPTIONS}/17?key={guess}"
            answer = client.get(path, headers={"Authorization": sent})
            assert answer.status_code == 401
    [line] = logged(capsys)
    assert "address=203.0.113.7" in line
    assert "times=3" in line
    assert f"route={SUBSCRIPTIONS}/{{id}}" in line
    assert "sss" not in line


def test_a_refusal_is_logged_within_seconds(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not when the service ends."""
    with called_from("203.0.113.7", database_url) as client:
        for _ in range(2):
            client.get(SUBSCRIPTIONS)
            eventually(lambda: _is(len(logged(capsys)) == 1))


def test_a_webhook_without_a_signature_is_logged_likewise(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(database_url=database_url, pool_size=2, webhook_secret=b"s" * 24)
    path = "/v1/api/sale/webhooks/payment"
    with TestClient(create_app(settings), client=("203.0.113.7", 50000)) as client:
        assert client.post(path, json={}).status_code == 401
    [line] = logged(capsys)
    assert "address=203.0.113.7" in line
    assert f"route={path}" in line


def test_a_flood_of_refusals_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """From one address, and from many at once."""
    flood = refusals.Refusals("unauthorized")

    async def guess() -> None:
        for number in range(refusals.MAX_ADDRESSES * 2):
            flood.note("198.51.100.1", "/v1/stats", 401)
            flood.note(f"2001:db8::{number}", "/v1/stats", 401)

    asyncio.run(guess())
    assert len(flood._counts) == refusals.MAX_ADDRESSES
    flood.flush()
    lines = logged(capsys)
    assert len(lines) == refusals.MAX_LINES + 1
    assert "address=198.51.100.1" in lines[0]
    told = [int(line.rpartition("times=")[2]) for line in lines]
    assert told[0] == refusals.MAX_ADDRESSES * 2
    assert sum(told) == refusals.MAX_ADDRESSES * 4
    assert not flood._counts


def test_an_address_that_a_proxy_made_up_is_bounded(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with called_from("x" * 5000, database_url) as client:
        client.get(SUBSCRIPTIONS)
    [line] = logged(capsys)
    assert len(line) < 300


def test_a_database_that_is_away_is_no_refusal(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that could not be looked up is not remembered as one that is none."""
    headers = platform.key("read")

    async def away(*_: object) -> None:
        raise psycopg.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "select", away)
        assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 503
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
