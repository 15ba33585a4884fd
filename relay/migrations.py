"""The schema's migrations: which there are, which ran here, and running the rest."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from psycopg import errors

from relay.database import Connection, transaction


class MigrationError(RuntimeError):
    """The database does not fit this code; the message says why, and then the hint."""

    def __init__(self, fault: str, hint: str) -> None:
        super().__init__(f"{fault}: {hint}")
        self.fault = fault
        self.hint = hint


class Migration(msgspec.Struct, frozen=True, order=True):
    """One file sql/migrations/NNN_name.sql."""

    version: int
    name: str
    path: Path

    @property
    def example(self) -> bool:
        """Whether it belongs to the payment example, which an outbox alone does not need."""
        return self.name.startswith("sale")


def sql_directory() -> Path:
    """The folder sql/: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "sql"
    return inside if inside.is_dir() else package.parent / "sql"


def known() -> list[Migration]:
    """The migrations that this code brings, in their order."""
    return sorted(
        Migration(int(path.stem[:3]), path.stem[4:], path)
        for path in (sql_directory() / "migrations").glob("[0-9][0-9][0-9]_*.sql")
    )


# From the catalog's rows. to_regclass asks the session's cache, which knows nothing yet of what
# was committed while this transaction waited for the lock.
OUTBOX_EXISTS = """
    select exists (
        select from pg_catalog.pg_tables where schemaname = 'outbox' and tablename = 'migration')
"""
APPLIED = "select version, name, compatible_from from outbox.migration order by version"


class Applied(msgspec.Struct, frozen=True):
    """A row of outbox.migration.

    Code that does not know it works beside it where it knows the migration `compatible_from`; None:
    no such code does.
    """

    version: int
    name: str
    compatible_from: int | None

    def __str__(self) -> str:
        return f"{self.version:03} {self.name}"

    def works_beside(self, latest: int) -> bool:
        """Whether code works beside it whose own latest migration is that one."""
        return self.compatible_from is not None and self.compatible_from <= latest


def applied(connection: Connection) -> dict[int, Applied]:
    """The migrations that ran in this database, by their versions; empty where none did.

    Raises MigrationError for a schema of before the first version.
    """
    if not _is_there(connection):
        return {}
    try:
        ran = connection.execute(APPLIED).fetchall()
    except errors.UndefinedColumn as lacking:
        raise MigrationError(
            "the schema is of before version 0.1.0, when migrations were still changed",
            "let the code that made it deliver what waits, and begin anew: "
            "`drop schema if exists outbox, sale cascade`, and then `outbox-relay migrate`",
        ) from lacking
    return {version: Applied(version, *rest) for version, *rest in ran}


def _is_there(connection: Connection) -> bool:
    exists = connection.execute(OUTBOX_EXISTS).fetchone()
    return bool(exists and exists[0])


def check(connection: Connection) -> list[Applied]:
    """Raises MigrationError unless this code and this database fit each other.

    Returns the migrations of a newer version beside which this code works.
    """
    try:
        ran = applied(connection)
    except errors.InsufficientPrivilege as refused:
        raise MigrationError(
            f"this role may not read outbox.migration: {str(refused).splitlines()[0]}",
            "grant it outbox_relay (sql/roles.sql); where it has that, and row-level security was "
            "enabled: alter table outbox.… disable row level security",
        ) from refused
    unknown = _unknown(ran.values())
    _refuse([one for one in unknown if not _works_beside(one)])
    _refuse_without_rows(connection)
    missing = [one for one in known() if one.version not in ran and not one.example]
    if missing:
        names = ", ".join(f"{one.version:03} {one.name}" for one in missing)
        raise MigrationError(f"the database lacks {names}", "run `outbox-relay migrate`")
    return unknown


def _unknown(ran: Iterable[Applied]) -> list[Applied]:
    """What another version of this code made, a newer one or one whose migrations were others."""
    names = {one.version: one.name for one in known()}
    return [one for one in ran if names.get(one.version) != one.name]


def _works_beside(unknown: Applied) -> bool:
    versions = [one.version for one in known()]
    return unknown.version not in versions and unknown.works_beside(max(versions))


def _refuse(unknown: Sequence[Applied]) -> None:
    if unknown:
        raise MigrationError(
            f"the database has migration {unknown[-1]}, which this version does not know",
            "install the version that made it, or a newer one",
        )


SCHEMAS = """
    select string_agg(nspname, ', ' order by nspname)
    from pg_catalog.pg_namespace where nspname in ('outbox', 'sale')
"""


def _refuse_without_rows(connection: Connection) -> None:
    """Each migration writes its row as it makes its tables: these came without their rows."""
    # In this order: where another migrate has just made the table, its row is there as well.
    if not _is_there(connection) or applied(connection):
        return
    (schemas,) = connection.execute(SCHEMAS).fetchone() or ("outbox",)
    raise MigrationError(
        "the schema is there and outbox.migration is empty, as after a restore of "
        "`pg_dump --schema-only`",
        f"restore the dump's data as well, or begin anew: `drop schema {schemas} cascade`, which "
        "drops what was published here, and then `outbox-relay migrate`",
    )


def migrate(connection: Connection, *, outbox_only: bool) -> Iterator[Migration]:
    """Runs what has not run yet, each in a transaction of its own, and yields it once it is in.

    `connection` is in autocommit. With `outbox_only` the payment example is left out. Raises
    MigrationError for a newer database, or one without its rows; what psycopg raises for a
    statement takes back its file.
    """
    with transaction(connection):
        connection.execute(TIMEOUT)
        _refuse(_unknown(applied(connection).values()))
        _refuse_without_rows(connection)
    for migration in known():
        if outbox_only and migration.example:
            continue
        if _run(connection, migration):
            yield migration


RESET = "reset search_path; reset standard_conforming_strings"
TIMEOUT = "select set_config('lock_timeout', '60s', true)"
# One migrate at a time in a database. Any login could hold an advisory lock, or again and again one
# on the table, which Postgres takes before it asks for rights, and stop every one of them. To lock
# the row takes the rights of the table's owner.
LOCK = "select from outbox.migration where version = 1 for update"


def _run(connection: Connection, migration: Migration) -> bool:
    try:
        with transaction(connection):
            return _apply(connection, migration)
    except (errors.UniqueViolation, errors.DuplicateSchema):
        # Where there was no table to lock yet, it was the schema's name that another migrate, just
        # as early, was waited for.
        with transaction(connection):
            if migration.version in applied(connection):
                return False
        raise


def _apply(connection: Connection, migration: Migration) -> bool:
    _lock(connection)
    # Under the lock: another migrate may have run it while we waited.
    if migration.version in applied(connection):
        return False
    connection.execute(migration.path.read_bytes())
    # Each file records itself, so that `psql -1 -f` serves as well.
    if migration.version not in applied(connection):
        raise MigrationError(
            f"{migration.path.name} does not insert into outbox.migration", "write that into it"
        )
    # Some also set the session's settings, which a pooler would hand on.
    connection.execute(RESET)
    return True


def _lock(connection: Connection) -> None:
    connection.execute(TIMEOUT)
    if not _is_there(connection):
        return
    try:
        connection.execute(LOCK)
    except errors.LockNotAvailable as held:
        raise MigrationError(
            "another session has kept outbox.migration locked for a minute",
            "let another `outbox-relay migrate` end, and try again; where none runs, "
            "outbox-relay doctor or sql/inspect/horizon.sql names the session",
        ) from held


MAY_MAKE_ROLES = """
    select rolsuper or rolcreaterole from pg_roles where rolname = current_user
"""


# Grants name each partition. A relay that makes or drops one meanwhile would make them fail, with
# words of Postgres's own catalog.
LOCK_PARTITIONS = "select from outbox.maintenance, outbox.installation for update"


def grant_roles(connection: Connection) -> bool:
    """Makes the group roles and their grants anew, from sql/roles.sql.

    False, and nothing done, where the connecting role may not make roles. What changes about who
    may connect to the database comes as notices. Raises MigrationError for a newer database.
    """
    with transaction(connection):
        _lock(connection)
        # Under the lock: a newer version may have migrated meanwhile, and granted the roles what
        # this one would take from them.
        _refuse(_unknown(applied(connection).values()))
        may = connection.execute(MAY_MAKE_ROLES).fetchone()
        if not may or not may[0]:
            return False
        connection.execute(LOCK_PARTITIONS)
        connection.execute((sql_directory() / "roles.sql").read_bytes())
    return True
