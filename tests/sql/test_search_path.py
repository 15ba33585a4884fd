"""What is in the database calls what it was made to call, whatever path a session brings.

Everything runs among the shadows of tests.shadows, on each version of Postgres.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from local.postgres_binaries import bin_dir
from relay import migrations
from tests.conftest import PostgresServer, server_address
from tests.event_types import register
from tests.servers import ServerName
from tests.shadows import SET_PATH, among_shadows, shadow_relations, shadow_types, shadowed, sprung
from tests.sql.log import SQL_DIRECTORY, Session, dead_letter, one, only_rows, publish
from tests.sql.programs import run

MIGRATIONS = sorted((SQL_DIRECTORY / "migrations").glob("*.sql"))
INSPECT = sorted((SQL_DIRECTORY / "inspect").glob("*.sql"))
MAINTAIN = sorted((SQL_DIRECTORY / "maintain").glob("*.sql"))
HEADERS = '{"traceparent": "00-1"}'


class Place:
    """A server, and a database of it whose migrations ran among the shadows."""

    def __init__(self, server: PostgresServer, version: int, url: str) -> None:
        self.server = server
        self.version = version
        self.template = url.rpartition("/")[2]


# What a publisher may set, and no function may read its literals by.
THEIRS = {"standard_conforming_strings": "off", "array_nulls": "off", "quote_all_identifiers": "on"}


@pytest.fixture(
    scope="module", params=["postgres_18", pytest.param("postgres_16", marks=pytest.mark.long)]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    name: ServerName = request.param
    server = PostgresServer(server_address(request.config, name))
    with shadowed(server) as url:
        yield Place(server, int(name.removeprefix("postgres_")), url)


@pytest.fixture
def url(place: Place) -> Iterator[str]:
    with place.server.clone(place.template) as url:
        yield url


@pytest.fixture
def db(url: str) -> Iterator[Session]:
    """The owner's session, out of the shadows; nothing of them may have been called in the end."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        assert sprung(connection) is None


@pytest.fixture
def shadowed_member(url: str, db: Session) -> Iterator["Member"]:
    with ExitStack() as sessions:
        yield Member(url, sessions)


class Member:
    """Opens sessions of new logins among the shadows, pg_temp's among them."""

    def __init__(self, url: str, sessions: ExitStack) -> None:
        self._url = url
        self._sessions = sessions

    def __call__(self, group: str) -> Session:
        url = self._sessions.enter_context(among_shadows(self._url, group, THEIRS))
        session = self._sessions.enter_context(psycopg.connect(url, autocommit=True))
        with session.transaction():
            session.execute("set local search_path = pg_catalog, pg_temp")
            shadow_types(session, "pg_temp")
            shadow_relations(session, "pg_temp")
        return session


def psql(url: str, *arguments: str | Path, version: int, options: str = SET_PATH) -> None:
    """psql as a superuser, among the shadows; every statement must succeed."""
    subprocess.run(
        [bin_dir(version) / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments],
        env={**os.environ, "PGOPTIONS": options},
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )


USES: list[LiteralString] = [
    "select 1 = 1",
    "select 'a' || 'b'",
    "select right('a', 1)",
    "select 'a'::text",
    "select '{}'::jsonb",
    "select * from pg_class",
    "select * from message",
    "select hashtextextended('a', 0)",
    "select json_build_object('a', 'b')",
    "select min(n) from (values (1)) as a (n)",
]


@pytest.mark.parametrize("use", USES)
def test_the_shadows_notice_what_is_looked_up_in_them(url: str, use: LiteralString) -> None:
    """And the note outlives the rollback: these tests can fail."""
    with (
        psycopg.connect(url, autocommit=True) as owner,
        psycopg.connect(url, autocommit=True, options=SET_PATH) as session,
    ):
        with pytest.raises(errors.InternalError, match="shadow"):
            session.execute(use)
        assert sprung(owner) is not None


UNBOUND = """
select p.oid::regprocedure::text
from pg_proc as p
where p.pronamespace::regnamespace::text in ('outbox', 'sale', 'inbox')
  and p.prosqlbody is null
  and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
"""


def test_every_function_was_parsed_when_it_was_made_or_says_its_path(
    db: Session, place: Place, url: str
) -> None:
    psql(url, "-f", SQL_DIRECTORY / "inbox.sql", version=place.version)
    assert db.execute(UNBOUND).fetchall() == []


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_says_its_path_before_anything_else(path: Path) -> None:
    statements = [line for line in path.read_text().splitlines() if line and line[:2] != "--"]
    assert statements[0] == "set search_path = pg_catalog, pg_temp;"


@pytest.mark.long
@pytest.mark.parametrize("mode", [["-1"], []], ids=["in one transaction", "statement by statement"])
def test_what_was_made_among_the_shadows_is_what_is_made_without(
    place: Place, mode: list[str]
) -> None:
    """Views, CHECKs, defaults, indexes and functions, by psql as by `outbox-relay migrate`."""
    scripts = [*MIGRATIONS, SQL_DIRECTORY / "roles.sql", SQL_DIRECTORY / "inbox.sql"]
    with place.server.clone("template0") as clean, place.server.clone(place.template) as again:
        for script in scripts:
            psql(clean, "-1", "-f", script, version=place.version, options="")
        psql(again, "-c", "drop schema outbox, sale cascade", version=place.version)
        for script in scripts:
            psql(again, *mode, "-f", script, version=place.version)
        assert _schema(again, place.version) == _schema(clean, place.version)
        with psycopg.connect(again) as owner:
            assert sprung(owner) is None


def _schema(url: str, version: int) -> list[str]:
    schemas = ("-n", "outbox", "-n", "sale", "-n", "inbox")
    dump = run("pg_dump", url, "--schema-only", *schemas, version=version).splitlines()
    # The guard around a dump is random.
    return [line for line in dump if not line.startswith("\\")]


def test_migrating_leaves_the_session_s_path_as_it_was(place: Place) -> None:
    """A pooler hands the session on to another client."""

    with (
        place.server.clone("template0") as url,
        psycopg.connect(url, autocommit=True, options="-csearch_path=theirs") as owner,
    ):
        assert list(migrations.migrate(owner, outbox_only=False))
        migrations.grant_roles(owner)
        assert one(owner, "show search_path") == "theirs"


PUBLISH = """
select outbox.publish('orders', 'event', '{"n": 1}', group_key => 'g', headers => %s)
"""
PUBLISH_BYTES = "select outbox.publish_bytes('orders', 'event', '1', 'text/plain', headers => %s)"
INSERT = """
insert into outbox.message (channel, type, group_key, payload, headers)
values ('orders', 'event', 'g', '1', %s)
"""


@pytest.mark.parametrize("statement", [PUBLISH, PUBLISH_BYTES, INSERT])
def test_a_publisher_publishes(
    db: Session, shadowed_member: Member, statement: LiteralString
) -> None:
    shadowed_member("outbox_publisher").execute(statement, [HEADERS])
    assert one(db, "select headers from outbox.message") == HEADERS


UNREADABLE = ["[]", "1", '{"a": 1}', '{"a": "\\n"}', '{"a b": "c"}', '{"ce_id": "mine"}', "{"]


@pytest.mark.parametrize("headers", UNREADABLE)
@pytest.mark.parametrize("statement", [PUBLISH, PUBLISH_BYTES, INSERT])
def test_a_publisher_can_not_store_headers_that_no_sink_reads(
    db: Session, shadowed_member: Member, statement: LiteralString, headers: str
) -> None:
    publisher = shadowed_member("outbox_publisher")
    with pytest.raises((errors.CheckViolation, errors.InvalidTextRepresentation)):
        publisher.execute(statement, [headers])
    assert one(db, "select count(*) from outbox.message") == 0


CATALOGUED = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 300},
        "items": {"type": "array", "uniqueItems": True, "items": {"minimum": 1, "multipleOf": 0.5}},
    },
}
FITTING = '{"id": "a", "items": [1, 1.5]}'
UNFIT = [FITTING.replace("1.5", "1"), FITTING.replace("1.5", "0"), '{"id": "A"}', "{}", "{", "7"]
CHECKED = """
insert into outbox.message (channel, type, payload)
values ('orders', 'event', %s)
"""


@pytest.mark.parametrize("enforcement", ["report", "refuse"])
def test_what_a_publisher_writes_is_held_to_its_event_type(
    db: Session, shadowed_member: Member, enforcement: str
) -> None:
    service = shadowed_member("outbox_service")
    with service.transaction():
        # As every transaction of the service does.
        service.execute("set local search_path = pg_catalog, pg_temp")
        register(service, "event", CATALOGUED, enforcement=enforcement, example=FITTING)
    publisher = shadowed_member("outbox_publisher")
    for payload in UNFIT:
        with suppress(psycopg.DatabaseError):
            publisher.execute(CHECKED, [payload.encode()])
    publisher.execute(CHECKED, [FITTING.encode()])
    unfit = 0 if enforcement == "refuse" else len(UNFIT)
    versions = one(db, "select array_agg(type_version order by id) from outbox.message")
    assert versions == [*[None] * unfit, 1]
    assert one(db, "select count(*) from outbox.event_type_fault") == unfit


def test_a_type_of_their_own_does_not_blind_the_check(db: Session, url: str) -> None:
    """With TEMP alone: `json` is whatever pg_temp says, and `json_typeof` of it theirs."""
    with (
        among_shadows(url, "outbox_publisher", THEIRS) as theirs,
        psycopg.connect(theirs, autocommit=True) as publisher,
    ):
        publisher.execute(
            "create type pg_temp.json as enum ('[]');"
            " create function pg_temp.json_typeof(pg_temp.json) returns pg_catalog.text"
            " language sql immutable return 'object'"
        )
        publisher.execute("set search_path = pg_temp, pg_catalog")
        with pytest.raises(errors.CheckViolation):
            publisher.execute(INSERT, ["[]"])


@pytest.mark.parametrize("path", INSPECT, ids=lambda path: path.stem)
def test_a_reader_gets_the_answers(db: Session, shadowed_member: Member, path: Path) -> None:
    dead_letter(db, publish(db))
    only_rows(shadowed_member("outbox_reader").execute(path.read_bytes()))


@pytest.mark.parametrize("path", MAINTAIN, ids=lambda path: path.stem)
def test_an_operator_maintains(db: Session, shadowed_member: Member, path: Path) -> None:
    dead_letter(db, publish(db))
    db.execute("select outbox.make_partitions()")
    only_rows(shadowed_member("outbox_relay").execute(path.read_bytes()))


def test_a_consumer_has_each_message_once(
    db: Session, place: Place, url: str, shadowed_member: Member
) -> None:
    psql(url, "-f", SQL_DIRECTORY / "inbox.sql", version=place.version)
    psql(url, "-f", SQL_DIRECTORY / "inbox.sql", version=place.version)
    db.execute("grant usage on schema inbox to outbox_reader")
    db.execute("grant insert, select, delete on inbox.received to outbox_reader")
    consumer = shadowed_member("outbox_reader")
    first = "select inbox.first_time('finance', 'key')"
    assert [one(consumer, first), one(consumer, first)] == [True, False]
    assert one(consumer, "select inbox.trim('1 hour')") == 0
    with pytest.raises(errors.CheckViolation):
        consumer.execute("select inbox.first_time('', 'key')")


def test_a_subscription_gets_its_cursors_and_keeps_its_shards(
    db: Session, shadowed_member: Member
) -> None:
    service = shadowed_member("outbox_service")
    service.execute("select outbox.subscribe('billing', 'orders', 'https://h.example/')")
    assert one(db, "select count(*) from outbox.cursor where subscription_id > 1") == 5
    with pytest.raises(errors.CheckViolation, match="endpoint"):
        service.execute("select outbox.subscribe('other', 'orders', 'nowhere')")
    db.execute("set search_path = shadow, public, pg_catalog")
    try:
        with pytest.raises(errors.CheckViolation, match="shards"):
            db.execute("update outbox.subscription set shards = 2")
    finally:
        db.execute("reset search_path")
