"""Commands print on a terminal of any encoding."""

import json
import os
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from local.program import script
from relay.database import Connection
from service.platform import keys
from tests.conftest import PostgresServer
from tests.relay.operating import add_dead_letter

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp437": {"PYTHONIOENCODING": "cp437:strict"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
COMMANDS = [
    "outbox-relay --help",
    "outbox-relay status",
    "outbox-relay doctor",
    "outbox-relay subscriptions",
    "outbox-relay subscriptions show kafka",
    "outbox-relay dead-letters show 1",
    "outbox-relay subscriptions pause kafakß👋…",
    "outbox-relay subscriptions frob…",
    "outbox-service --help",
    "outbox-service keys list",
    "outbox-service keys frob…",
]
AS_JSON = ["outbox-relay subscriptions --json", "outbox-relay subscriptions show kafka --json"]
UTF_8 = {"PYTHONIOENCODING": "utf-8"}
REASON = "Umzug läuft… → 👋"


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with names and reasons in other letters than ASCII's."""
    with postgres_server.clone() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection)
        # It says once who may connect from now on.
        assert run("outbox-relay migrate", url, {}).returncode == 0
        yield url


def fill(connection: Connection) -> None:
    # The template of this database may be older than maintenance may be, or just become so.
    connection.execute("select outbox.note_maintenance('', null)")
    pause = "update outbox.subscription set paused = true, paused_reason = %s"
    connection.execute(pause, [REASON])
    add_dead_letter(connection, 1, payload=f'{{"said": "{REASON}"}}'.encode())
    connection.execute("update outbox.dead_letter set type = %s, detail = %s", [REASON, REASON * 9])
    keys.create(connection, REASON, ("read",))


def run(command: str, url: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    program, *arguments = command.split()
    return subprocess.run(
        [os.fsencode(script(program)), *(argument.encode() for argument in arguments)],
        env={"DATABASE_URL": url, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param(name, marks=() if name == "ascii" else pytest.mark.nightly)
        for name in ENCODINGS
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_in_utf_8_is_printed_in_every_encoding(
    url: str, command: str, encoding: str
) -> None:
    there = run(command, url, UTF_8)
    told = run(command, url, ENCODINGS[encoding])
    assert b"Traceback" not in told.stderr, told.stderr
    assert told.returncode == there.returncode
    assert len(told.stdout.splitlines()) == len(there.stdout.splitlines())


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        *((AS_JSON[0], encoding) for encoding in ENCODINGS),
        (AS_JSON[1], "ascii"),
        *(
            pytest.param(AS_JSON[1], encoding, marks=pytest.mark.nightly)
            for encoding in list(ENCODINGS)[1:]
        ),
    ],
)
def test_json_is_the_same_in_every_encoding(url: str, command: str, encoding: str) -> None:
    there = run(command, url, UTF_8).stdout
    written = run(command, url, ENCODINGS[encoding]).stdout
    text = written.decode("ascii" if "locale" in encoding else encoding)
    assert json.loads(text) == json.loads(there)
    assert REASON in there.decode()


def test_what_ascii_lacks_is_written_as_near_as_can_be(url: str) -> None:
    told = run("outbox-relay subscriptions", url, ENCODINGS["ascii"]).stdout.decode("ascii")
    assert r"Umzug l\u00e4uft... -> \ud83d\udc4b" in told
