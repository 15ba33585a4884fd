"""With OUTBOX_SECRET_KEY no secret reaches the database as it is; and old ones can be revoked."""

import base64
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from cryptography.fernet import Fernet
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings, SettingsError, from_environment
from tests.conftest import PostgresServer
from tests.proxy import Proxy
from tests.service.api import SUBSCRIPTIONS, Json, Platform
from tests.service.conftest import JSON

SECRET_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.urlsafe_b64encode(bytes(range(100, 132))).decode()
ROWS = """
    select key, sealed, expires_at from outbox.secret where subscription_id = %s
    order by created_at desc
"""


class Wire:
    """All that the service has sent to its database."""

    def __init__(self) -> None:
        self.seen = b""

    def __call__(self, data: bytes) -> None:
        self.seen += data


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def sealing(postgres_server: PostgresServer, wire: Wire) -> Iterator[Platform]:
    """A service with a key, whose way to the database is watched."""
    with (
        postgres_server.clone() as url,
        Proxy(urlsplit(url).port or 0) as proxy,
        psycopg.connect(url, autocommit=True) as database,
    ):
        proxy.watch = wire
        settings, _ = from_environment(
            {"DATABASE_URL": proxy.url(url), "OUTBOX_SECRET_KEY": f"{SECRET_KEY},{OTHER_KEY}"}
        )
        with TestClient(create_app(settings), raise_server_exceptions=False, headers=JSON) as http:
            yield Platform(http, database, url)


def spellings(secret: str) -> list[bytes]:
    """As what a secret would be found."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return [key, key.hex().encode(), secret.removeprefix("whsec_").encode()]


def path(subscription: Json, step: str = "") -> str:
    return f"{SUBSCRIPTIONS}/{subscription['id']}{step}"


def rows(platform: Platform, subscription: Json) -> list[tuple[bytes | None, str | None, object]]:
    """Key, sealed, expiry of its secrets, the newest first."""
    return platform.database.execute(ROWS, [int(subscription["id"])]).fetchall()


def test_a_secret_is_sealed_before_it_reaches_the_database(sealing: Platform, wire: Wire) -> None:
    made = sealing.subscription()
    rotated = sealing.ask("POST", path(made, "/rotate-secret"))["secret"]
    stored = rows(sealing, made)
    assert [key for key, _, _ in stored] == [None, None]
    fernet = Fernet(SECRET_KEY)
    opened = [fernet.decrypt(sealed or "") for _, sealed, _ in stored]
    shown = [rotated, made["secret"]]
    assert opened == [base64.b64decode(one.removeprefix("whsec_")) for one in shown]
    assert [len(key) for key in opened] == [32, 32]
    # The wire shows what it carries: this test can fail.
    assert (stored[0][1] or "").encode() in wire.seen
    found = [text for secret in shown for text in spellings(secret) if text in wire.seen]
    assert found == []
    tables = str(sealing.database.execute("select * from outbox.secret").fetchall())
    assert not [
        text for secret in shown for text in spellings(secret) if text.decode("latin1") in tables
    ]


def test_without_a_key_the_database_makes_the_secret(platform: Platform) -> None:
    made = platform.subscription()
    [(key, sealed, _)] = rows(platform, made)
    assert (key, sealed) == (base64.b64decode(made["secret"].removeprefix("whsec_")), None)


@pytest.mark.parametrize("body", [None, {}, {"revokeOld": "after_a_day"}])
def test_the_old_secret_serves_for_a_day_more(platform: Platform, body: Json | None) -> None:
    made = platform.subscription()
    platform.ask("POST", path(made, "/rotate-secret"), body)
    assert [expires is None for _, _, expires in rows(platform, made)] == [True, False]


def test_a_rotation_without_a_body_needs_no_type_of_one(platform: Platform) -> None:
    """As `curl -X POST` sends it."""
    made = platform.subscription()
    rotate = path(made, "/rotate-secret")
    bare = platform.http.build_request("POST", rotate, headers=platform.authorization)
    del bare.headers["content-type"]
    assert platform.http.send(bare).status_code == 200
    typeless = platform.http.build_request(
        "POST", rotate, content='{"revokeOld": "now"}', headers=platform.authorization
    )
    typeless.headers["content-type"] = "text/plain"
    assert platform.http.send(typeless).status_code == 415
    assert len(rows(platform, made)) == 2


@pytest.mark.parametrize("which", ["platform", "sealing"])
def test_the_old_secrets_are_revoked_now(which: str, request: pytest.FixtureRequest) -> None:
    platform: Platform = request.getfixturevalue(which)
    made = platform.subscription()
    platform.ask("POST", path(made, "/rotate-secret"))
    now = platform.ask("POST", path(made, "/rotate-secret"), {"revokeOld": "now"})["secret"]
    [(key, sealed, expires)] = rows(platform, made)
    assert expires is None
    opened = key if sealed is None else Fernet(SECRET_KEY).decrypt(sealed)
    assert opened == base64.b64decode(now.removeprefix("whsec_"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"revokeOld": "later"}, "revokeOld"),
        ({"revokeOld": None}, "revokeOld"),
        ({"revoke_old": "now"}, "revoke_old"),
        ({"revokeOld": "now", "sealed": "gAAAA"}, "sealed"),
    ],
)
def test_a_rotation_that_does_not_fit_is_refused_and_changes_nothing(
    platform: Platform, body: Json, field: str
) -> None:
    made = platform.subscription()
    before = rows(platform, made)
    assert platform.field("POST", path(made, "/rotate-secret"), body) == field
    assert rows(platform, made) == before


URL = {"DATABASE_URL": "postgresql://u:password@127.0.0.1/x"}


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_key_is_none(value: str) -> None:
    settings, _ = from_environment({**URL, "OUTBOX_SECRET_KEY": value})
    assert settings.secret_key is None


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        SECRET_KEY[:-2],
        SECRET_KEY + "A",
        f"{SECRET_KEY},hunter2",
        f"hunter2,{SECRET_KEY}",
        "ä" * 43 + "=",
        ",",
    ],
)
def test_what_is_no_key_stops_the_start_and_is_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError, match="OUTBOX_SECRET_KEY") as refused:
        from_environment({**URL, "OUTBOX_SECRET_KEY": value})
    told = str(refused.value)
    assert "outbox-relay secrets new-key" in told
    for word in ("hunter2", SECRET_KEY[:10], "ä"):
        assert word not in told


@pytest.mark.parametrize(
    "name", ["OUTBOX_SECRET_KEYS", "OUTBOX_SECRETKEY", "OUTBOX_SECRET_KEY_FILE"]
)
def test_a_slip_in_the_name_stops_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({**URL, name: SECRET_KEY})


def test_the_key_is_in_no_text_of_the_settings() -> None:
    settings = Settings(database_url="postgresql://127.0.0.1/x", secret_key=SECRET_KEY)
    assert SECRET_KEY not in repr(settings) + str(settings)
