"""A second owner in a cluster, who may make roles and finds the four that the first one made."""

import re
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from relay.database import Connection
from relay.doctor import examination
from relay.doctor.finding import Finding
from tests.conftest import PostgresServer, server_address, versions
from tests.relay.operating import outbox_relay, settings

MAKE_ROLE = "create role {} login createrole"
MEMBER = "grant outbox_relay to {}"


class Owner:
    """A login that may make roles, with a database of its own."""

    def __init__(self, superuser: Connection, database: str, name: str) -> None:
        self.superuser = superuser
        self.name = name
        self.url = make_conninfo(superuser.info.dsn, dbname=database, user=name)

    def migrate(self) -> str:
        """What `outbox-relay migrate` tells it."""
        ran = outbox_relay("migrate", "--outbox-only", environment={"DATABASE_URL": self.url})
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def findings(self) -> list[Finding]:
        return [
            one
            for one in examination.examine(settings(self.url))
            if (one.what, one.level) == ("roles", "warning")
        ]

    def make_a_member(self) -> None:
        """As the README says: a login for a relay."""
        login = sql.Identifier(f"login_{uuid.uuid4().hex}")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create role {} login").format(login))
            try:
                connection.execute(sql.SQL(MEMBER).format(login))
            finally:
                connection.execute(sql.SQL("drop role {}").format(login))


@pytest.fixture(params=versions(since=16))
def cluster_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a database where CREATEROLE is no right to grant what others made: since PostgreSQL 16."""
    server = PostgresServer(server_address(request.config, request.param))
    with server.clone() as url:
        yield url


@pytest.fixture(params=["second", 'Second "owner".x'])
def owner(cluster_url: str, request: pytest.FixtureRequest) -> Iterator[Owner]:
    """One whose cluster's group roles a superuser made."""
    number = uuid.uuid4().hex
    name, database = f"{request.param}_{number}", sql.Identifier(f"test_{number}")
    role = sql.Identifier(name)
    with psycopg.connect(cluster_url, autocommit=True) as superuser:
        superuser.execute(sql.SQL(MAKE_ROLE).format(role))
        make = sql.SQL("create database {} owner {} template template0")
        superuser.execute(make.format(database, role))
        try:
            yield Owner(superuser, f"test_{number}", name)
        finally:
            superuser.execute(sql.SQL("drop database {} with (force)").format(database))
            superuser.execute(sql.SQL("drop owned by {}").format(role))
            superuser.execute(sql.SQL("drop role {}").format(role))


@pytest.mark.long
def test_migrate_says_what_is_to_be_granted_and_that_is_enough(owner: Owner) -> None:
    told = owner.migrate()
    with pytest.raises(errors.InsufficientPrivilege):
        owner.make_a_member()
    (grant,) = re.findall(r"superuser run: (grant .* with admin option)", told)
    groups = "outbox_publisher, outbox_reader, outbox_relay, outbox_service"
    assert groups in grant
    owner.superuser.execute(grant.encode())
    owner.make_a_member()
    assert "may not grant" not in owner.migrate()


def test_the_doctor_says_it_as_well(owner: Owner) -> None:
    owner.migrate()
    (finding,) = owner.findings()
    _, _, grant = finding.hint.partition(": ")
    owner.superuser.execute(grant.encode())
    assert owner.findings() == []


def test_who_could_grant_them_is_named(owner: Owner) -> None:
    first = f"first_{uuid.uuid4().hex}"
    role = sql.Identifier(first)
    owner.superuser.execute(sql.SQL("create role {}").format(role))
    try:
        owner.superuser.execute(sql.SQL("grant outbox_relay to {} with admin option").format(role))
        # Beside those of tests that run meanwhile.
        assert re.search(rf"let .*{first} or .*superuser run: grant", owner.migrate())
    finally:
        owner.superuser.execute(sql.SQL("drop role {}").format(role))
