"""`outbox-relay catalogue`: event types as code of a repository."""

import json
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus

from catalogue import registration
from catalogue.registration import Expected
from relay import cli
from relay.database import Connection
from relay.operate import catalogue as operate_catalogue
from relay.operate.catalogue import Planned
from relay.operate.event_type_files import CatalogueError, read
from tests.event_types import ORDER, register
from tests.eventually import eventually
from tests.relay.operating import outbox_relay, relay_role, settings
from tests.sql.log import one

# Whether the log pays for a check.
CHECKED = "select exists (select from pg_trigger where tgname = 'check_event_type')"
YAML = """
type: order.paid
channels: [orders]
owner: shop
description: |
  Paid in full.
schema:
  type: object
  required: [orderId]
  properties:
    orderId: {type: string}
    amount: {type: number, maximum: 1.10}
    country: {enum: [NO, DE, "true"]}
    on: {type: boolean}
example: {orderId: "1", country: NO, on: true}
"""


class Ended(NamedTuple):
    """A command, with what it wrote."""

    code: int
    stdout: str
    stderr: str


def catalogue(url: str, command: str, directory: Path) -> Ended:
    """The command in this process, which takes a tenth of the time of one of its own."""
    arguments = cli.parser().parse_args(["catalogue", command, str(directory)])
    stdout, stderr = StringIO(), StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = arguments.command(settings(url), arguments)
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def definition(**fields: object) -> dict[str, Any]:
    return {"type": "order.created", "channels": ["orders"], "schema": ORDER, **fields}


def write(directory: Path, name: str, text: object) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def versions(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("select type, version from outbox.event_type").fetchall())


def test_the_types_of_a_directory_are_registered_and_again_nothing_changes(
    database_url: str, connection: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "order.json", definition())
    write(tmp_path, "payments/paid.yaml", YAML)
    write(tmp_path, "README.md", "no type")
    applied = catalogue(database_url, "apply", tmp_path)
    assert (applied.code, applied.stderr) == (0, "")
    assert [line.split() for line in applied.stdout.splitlines()[1:]] == [
        ["order.created", "1", "new"],
        ["order.paid", "1", "new"],
    ]
    before = one(connection, "select sum(xmin::text::bigint) from outbox.event_type")
    again = catalogue(database_url, "apply", tmp_path)
    assert [line.split()[2] for line in again.stdout.splitlines()[1:]] == ["same", "same"]
    assert one(connection, "select sum(xmin::text::bigint) from outbox.event_type") == before


def test_yaml_means_what_json_would(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    write(tmp_path, "paid.yml", YAML)
    assert catalogue(database_url, "apply", tmp_path).code == 0
    schema = one(connection, "select schema from outbox.event_type_version")
    assert '"maximum":1.10' in schema
    properties = json.loads(schema)["properties"]
    assert properties["country"] == {"enum": ["NO", "DE", "true"]}
    assert "on" in properties
    assert one(connection, "select description from outbox.event_type") == "Paid in full.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: a\ntype: b\n", "line 2: type is there twice"),
        ("1: a\n", "line 1: 1 is no text: quote it"),
        ("type: [\n", "line 2: "),
        ("- a\n", "Expected `object`"),
        ("type: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a: &a [*a]\n", "holds itself"),
        ("type: a\nchannels: [c]\n", "missing required field `schema`"),
        ("type: a\nchannels: [c]\nschema: {}\ntitle: t\n", "unknown field `title`"),
    ],
)
def test_a_file_that_is_none_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, said: str
) -> None:
    write(tmp_path, "a.yaml", text)
    with pytest.raises(CatalogueError) as refused:
        read(tmp_path)
    [fault] = refused.value.faults
    assert fault.startswith(f"{tmp_path}/a.yaml: ")
    assert said in fault


def test_every_fault_of_every_file_is_told_and_nothing_is_registered(
    database_url: str, connection: Connection, tmp_path: Path
) -> None:
    register(connection, "order.created")
    write(tmp_path, "fits.json", definition(type="order.new"))
    write(tmp_path, "breaks.json", definition(schema={**ORDER, "required": []}))
    write(tmp_path, "example.json", definition(type="order.other", example={"orderId": 1}))
    for command in ("check", "apply"):
        refused = catalogue(database_url, command, tmp_path)
        assert refused.code == 1
        assert 'breaks.json: schema: at "' in refused.stderr
        assert "since version 1: " in refused.stderr
        new_type = "breaks.json: schema: An incompatible change is a new type: order.created.v2"
        assert new_type in refused.stderr
        assert 'example.json: example: at "/orderId" (type): ' in refused.stderr
    assert versions(connection) == {"order.created": 1}
    write(tmp_path, "none.json", definition(type="order.none", schema={"type": "nonsense"}))
    assert "none.json: schema: /type: " in catalogue(database_url, "check", tmp_path).stderr


def test_a_check_tells_what_would_change_and_changes_nothing(
    database_url: str, connection: Connection, tmp_path: Path
) -> None:
    register(connection, "order.created")
    register(connection, "order.paid")
    wider = {**ORDER, "properties": {**ORDER["properties"], "note": {}}}
    write(tmp_path, "a.json", definition(schema=wider))
    write(tmp_path, "b.json", definition(type="order.new"))
    write(tmp_path, "c.json", definition(type="order.paid", owner="shop"))
    checked = catalogue(database_url, "check", tmp_path)
    assert [line.split(maxsplit=2) for line in checked.stdout.splitlines()[1:]] == [
        ["order.created", "2", "new version"],
        ["order.new", "1", "new"],
        ["order.paid", "1", "changed"],
    ]
    assert versions(connection) == {"order.created": 1, "order.paid": 1}
    assert one(connection, "select max(owner) from outbox.event_type") == ""


def test_what_is_exported_is_what_is_applied(
    database_url: str, connection: Connection, tmp_path: Path
) -> None:
    register(connection, "order.created", description="é", example='{"orderId": "1"}')
    register(
        connection,
        "order.off",
        enforcement="off",
        compatibility="none",
        channels=["a", "b"],
        deprecated_on="2027-03-01",
        successor="order.created",
    )
    exported = catalogue(database_url, "export", tmp_path / "new")
    assert exported.stdout.startswith("2 event types are in ")
    assert "; 2 files were written" in exported.stdout
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "order.created.json",
        "order.off.json",
    ]
    applied = catalogue(database_url, "apply", tmp_path / "new")
    assert [line.split()[2] for line in applied.stdout.splitlines()[1:]] == ["same", "same"]
    assert "; 0 files were written" in catalogue(database_url, "export", tmp_path / "new").stdout


def test_a_type_is_deprecated_by_its_file(
    database_url: str, connection: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "a.yaml", f"{YAML}deprecation: {{date: 2027-03-01, successor: order.settled}}")
    assert catalogue(database_url, "apply", tmp_path).code == 0
    kept = "select deprecated_on::text, successor from outbox.event_type"
    assert connection.execute(kept).fetchone() == ("2027-03-01", "order.settled")
    write(tmp_path, "a.yaml", YAML)
    assert "changed" in catalogue(database_url, "apply", tmp_path).stdout
    assert connection.execute(kept).fetchone() == (None, None)


def test_a_pipeline_needs_the_readers_role_and_two_functions(
    connection: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "a.json", definition(example={"orderId": "1"}))
    with relay_role(connection, "outbox_reader") as url:
        assert catalogue(url, "check", tmp_path).code == 0
        refused = outbox_relay(
            "catalogue", "apply", str(tmp_path), environment={"DATABASE_URL": url}
        )
        assert (refused.returncode, "permission denied" in refused.stderr) == (1, True)
        role = sql.Identifier(urlsplit(url).username or "")
        grant = sql.SQL(
            "grant execute on function outbox.put_event_type, outbox.require_event_check to {}"
        ).format(role)
        connection.execute(grant)
        assert catalogue(url, "apply", tmp_path).code == 0
        assert catalogue(url, "export", tmp_path).code == 0
        connection.execute(sql.SQL("drop owned by {}").format(role))
    assert one(connection, "select made_by like 'relay_%%' from outbox.event_type_version")


def test_two_files_of_one_type_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition())
    write(tmp_path, "b/a.json", definition())
    with pytest.raises(CatalogueError, match=r"a\.json defines order\.created as well"):
        read(tmp_path)


def test_a_directory_that_is_not_there_is_said(database_url: str, tmp_path: Path) -> None:
    refused = catalogue(database_url, "apply", tmp_path / "absent")
    assert refused.code == 1
    assert "absent is no directory" in refused.stderr


def test_without_the_extra_yaml_says_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.yaml", YAML)
    monkeypatch.setitem(sys.modules, "relay.operate.yaml_json", None)
    with pytest.raises(CatalogueError, match=r"pip install 'outbox-relay\[yaml\]'"):
        read(tmp_path)


def test_apply_waits_for_a_writer_that_holds_the_log(
    database_url: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.json", definition())
    definitions = read(tmp_path)
    monkeypatch.setattr(operate_catalogue, "RETRY_SECONDS", 0.1)
    with psycopg.connect(database_url) as writer:
        writer.execute("select outbox.publish('c', 't', '{}')")
        with pytest.raises(CatalogueError, match=f"They are: pid {writer.info.backend_pid}"):
            operate_catalogue.apply(connection, definitions, patience_seconds=0)
        applying = threading.Thread(
            target=operate_catalogue.apply, args=(connection, definitions, 60)
        )
        applying.start()
        writer.commit()
        with psycopg.connect(database_url, autocommit=True) as other:
            missed = "select setval('outbox.event_check_missed', 0)"

            def done() -> None:
                other.execute(missed)
                assert versions(other) == {"order.created": 1}

            eventually(done)
        applying.join(timeout=10)


def test_publishers_go_on_while_types_are_being_registered(
    database_url: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.json", definition())
    write(tmp_path, "b.json", definition(type="order.paid"))
    put = operate_catalogue._put
    timeouts: list[str] = []

    def put_and_publish(own: Connection, plan: Sequence[Planned]) -> None:
        put(own, plan)
        with psycopg.connect(database_url, autocommit=True) as publisher:
            publisher.execute("set lock_timeout = '2s'")
            publisher.execute("select outbox.publish('c', 't', '{}')")
        timeouts.append(one(own, "show idle_in_transaction_session_timeout"))

    monkeypatch.setattr(operate_catalogue, "_put", put_and_publish)
    operate_catalogue.apply(connection, read(tmp_path))
    assert timeouts == ["8s"]
    assert one(connection, CHECKED)
    assert versions(connection) == {"order.created": 1, "order.paid": 1}


def test_types_that_are_not_enforced_put_no_check_on_the_log(
    connection: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "a.json", definition(enforcement="off"))
    operate_catalogue.apply(connection, read(tmp_path))
    assert not one(connection, CHECKED)


def test_versions_are_compared_in_no_transaction(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.json", definition())
    compare = registration.expected
    stood: list[int] = []

    def compare_and_look(*given: Any) -> Expected:
        stood.append(connection.info.transaction_status)
        return compare(*given)

    monkeypatch.setattr(registration, "expected", compare_and_look)
    operate_catalogue.check(connection, read(tmp_path))
    operate_catalogue.apply(connection, read(tmp_path))
    assert stood == [TransactionStatus.IDLE] * 2


def test_what_is_the_same_but_for_its_rules_its_key_or_the_check_is_put_right(
    connection: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "a.json", definition())
    operate_catalogue.apply(connection, read(tmp_path))
    rules = "select singles::text from outbox.event_type_version"
    before = one(connection, rules)
    connection.execute("update outbox.event_type_version set singles = '[]'")
    connection.execute("drop trigger check_event_type on outbox.message")
    [outcome] = operate_catalogue.apply(connection, read(tmp_path))
    assert (outcome.change, outcome.version) == ("same", 1)
    assert one(connection, rules) == before
    assert one(connection, CHECKED)
    connection.execute("update outbox.event_type set of_key = 'tenant'")
    [outcome] = operate_catalogue.apply(connection, read(tmp_path))
    assert (outcome.change, outcome.version) == ("changed", 1)
    assert one(connection, "select of_key from outbox.event_type") is None


WORD = {"properties": {"word": {"pattern": r"\bword"}}}


@pytest.mark.parametrize("command", ["check", "apply"])
def test_what_sql_can_not_keep_is_refused_for_refuse_with_what_to_do(
    database_url: str, connection: Connection, tmp_path: Path, command: str
) -> None:
    write(tmp_path, "a.json", definition(schema=WORD))
    refused = catalogue(database_url, command, tmp_path)
    assert refused.code == 1
    assert "schema: /properties/word/pattern: " in refused.stderr
    assert "has word boundaries: SQL can't keep that, so it can't be refused." in refused.stderr
    assert "enforce the type by `report`" in refused.stderr
    assert versions(connection) == {}


@pytest.mark.parametrize("enforcement", ["off", "report"])
def test_what_sql_can_not_keep_is_registered_otherwise_and_told(
    database_url: str, connection: Connection, tmp_path: Path, enforcement: str
) -> None:
    fits = {"word": "a word"}
    write(tmp_path, "a.json", definition(schema=WORD, enforcement=enforcement, example=fits))
    for command in ("check", "apply"):
        done = catalogue(database_url, command, tmp_path)
        assert done.code == 0, done.stderr
        said = "SQL can't keep the schema of order.created, it is checked over HTTP alone: /prop"
        assert said in done.stdout
    assert versions(connection) == {"order.created": 1}
    write(tmp_path, "a.json", definition(schema=WORD, example=fits))
    assert catalogue(database_url, "apply", tmp_path).code == 1


def test_an_example_of_what_sql_can_not_keep_is_checked_here(
    connection: Connection, tmp_path: Path
) -> None:
    unfit = {"word": "swords"}
    write(tmp_path, "a.json", definition(schema=WORD, enforcement="report", example=unfit))
    with pytest.raises(CatalogueError, match=r'a.json: example: at "/word" \(pattern\)'):
        operate_catalogue.check(connection, read(tmp_path))
