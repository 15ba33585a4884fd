"""What a released version promised of the schema, every later one keeps."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from local import released
from relay import migrations
from relay.database import Connection
from tests.conftest import PostgresServer

VERSIONS = released.versions()
TODO = "keep it, or leave compatible_from out of the migration that takes it"


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[Connection]:
    """To a database that these tests use in turn; what they change they take back."""
    with postgres_server.clone() as url, psycopg.connect(url) as connection:
        yield connection


@pytest.fixture
def present(connection: Connection) -> Iterator[Connection]:
    """The present migrations and roles."""
    yield connection
    connection.rollback()


def test_a_version_promises_something_before_it_is_released() -> None:
    assert VERSIONS
    assert released.version_under_way() in (None, VERSIONS[-1]), "run: make schema"


@pytest.mark.parametrize("version", VERSIONS)
def test_no_migration_of_a_released_version_changes(version: str) -> None:
    promised = released.promised_hashes(version)
    present = released.hashes(one.path for one in migrations.known())
    changed = [name for name, digest in promised.items() if present.get(name) != digest]
    under_way = released.version_under_way() == version
    todo = "run: make schema" if under_way else "leave it as it was, and write a new migration"
    assert changed == [], todo


@pytest.mark.parametrize("version", VERSIONS)
def test_what_works_beside_the_present_schema_finds_there_all_that_it_may_use(
    version: str, present: Connection
) -> None:
    latest = max(int(name[:3]) for name in released.promised_hashes(version))
    later = [one for one in migrations.applied(present).values() if one.version > latest]
    if all(one.works_beside(latest) for one in later):
        lacking = released.broken(released.promised_rights(version), released.rights(present))
        assert lacking == [], TODO


def test_until_the_roles_are_made_anew_a_released_version_finds_all_that_it_may_use(
    former_version: str, former_url: str
) -> None:
    """As where a function is made anew: its grants go with it."""
    promised = released.promised_rights(former_version)
    with psycopg.connect(former_url, autocommit=True) as connection:
        assert released.rights(connection) == promised
        latest = max(migrations.applied(connection))
        for _ in migrations.migrate(connection, outbox_only=False):
            pass
        later = [one for one in migrations.applied(connection).values() if one.version > latest]
        if all(one.works_beside(latest) for one in later):
            assert released.broken(promised, released.rights(connection)) == [], TODO


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        (
            "drop function outbox.published_here()",
            "outbox_publisher execute outbox.published_here() returns",
        ),
        (
            "alter table outbox.checkpoint rename relay to made_by",
            "outbox_relay insert outbox.checkpoint.relay text",
        ),
        (
            "alter table outbox.migration alter applied_at type timestamp",
            "outbox_relay select outbox.migration.applied_at timestamp with time zone",
        ),
        (
            "alter table outbox.source_receipt add zone text not null",
            "outbox_relay insert outbox.source_receipt.zone text required",
        ),
        (
            "revoke delete on outbox.delivery from outbox_relay",
            "outbox_relay delete outbox.delivery",
        ),
        ("revoke usage on schema outbox from outbox_reader", "outbox_reader usage outbox"),
        (
            "drop function outbox.make_partitions; "
            "create function outbox.make_partitions(retention_days integer) returns integer "
            "return 0; "
            "grant execute on function outbox.make_partitions to outbox_relay",
            "outbox_relay omit outbox.make_partitions(retention_days integer) retention_days",
        ),
    ],
)
def test_what_a_change_takes_is_named(
    change: LiteralString, lacking: str, present: Connection
) -> None:
    promised = released.rights(present)
    present.execute("alter table outbox.checkpoint add remark text")
    assert released.broken(promised, released.rights(present)) == []
    present.execute(change)
    broken = released.broken(promised, released.rights(present))
    assert [line for line in broken if line.startswith(lacking)]
