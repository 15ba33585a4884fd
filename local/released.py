"""What a version promises of the schema: its migrations to the byte, and what each role may do.

`make schema` writes both for the version in pyproject.toml until CHANGELOG.md has a section of it,
and its sql/roles.sql, by which tests make a database as the version left it. From its release on
they stay as they are, and tests hold every later schema against them.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Set
from pathlib import Path

from relay import migrations
from relay.database import Connection

ROOT = Path(__file__).parent.parent
DIRECTORY = ROOT / "tests" / "upgrade" / "released"
CHANGELOG = ROOT / "CHANGELOG.md"

# What the four roles may do, with names and types: code that runs under them can use nothing else.
# `omit`: an argument that a call may leave out. Partitions are left out: who may what is asked of
# their parents.
RIGHTS = """
with role (name) as (
    values ('outbox_publisher'), ('outbox_service'), ('outbox_relay'), ('outbox_reader')
), place (oid, name) as (
    select oid, quote_ident(nspname) from pg_namespace where nspname in ('outbox', 'sale')
), relation (oid, name) as (
    select r.oid, place.name || '.' || quote_ident(r.relname)
    from place join pg_class r on r.relnamespace = place.oid
    where r.relkind in ('r', 'p', 'v') and not r.relispartition
), function (role, oid, name, argument_names) as (
    select role.name, f.oid,
           format('%s.%I(%s)', place.name, f.proname, pg_get_function_identity_arguments(f.oid)),
           f.proargnames
    from role cross join place join pg_proc f on f.pronamespace = place.oid
    where has_function_privilege(role.name, f.oid, 'execute')
)
select concat_ws(' ', role.name, 'usage', place.name)
from role cross join place
where has_schema_privilege(role.name, place.oid, 'usage')
union all
select concat_ws(' ', role, 'execute', name, 'returns', pg_get_function_result(oid))
from function
union all
select concat_ws(' ', role, 'omit', function.name, argument.name)
from function
cross join lateral unnest(argument_names) with ordinality as argument (name, number)
where pg_get_function_arg_default(oid, argument.number::integer) is not null
union all
select concat_ws(' ', role.name, kind, relation.name || '.' || quote_ident(c.attname),
                 format_type(c.atttypid, c.atttypmod),
                 case when kind = 'insert' and c.attnotnull and not c.atthasdef
                           and c.attidentity = '' then 'required' end)
from role cross join relation
join pg_attribute c on c.attrelid = relation.oid and c.attnum > 0 and not c.attisdropped
cross join (values ('select'), ('insert'), ('update')) as of_columns (kind)
where has_column_privilege(role.name, relation.oid, c.attnum, kind)
union all
select concat_ws(' ', role.name, 'delete', relation.name)
from role cross join relation
where has_table_privilege(role.name, relation.oid, 'delete')
"""


def versions() -> list[str]:
    """Those that promise something, the oldest first."""
    named = (path.stem for path in DIRECTORY.glob("*.sha256"))
    return sorted(named, key=lambda version: [int(part) for part in version.split(".")])


def version_under_way() -> str | None:
    """That in pyproject.toml; None where it is released, as a section of CHANGELOG.md says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = str(project["version"])
    return None if f"\n## [{version}]" in CHANGELOG.read_text() else version


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def promised_hashes(version: str) -> dict[str, str]:
    """Those of the migrations that the version was released with."""
    lines = (DIRECTORY / f"{version}.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def promised_roles(version: str) -> Path:
    """The sql/roles.sql that the version was released with."""
    return DIRECTORY / f"{version}.roles.sql"


def rights(connection: Connection) -> set[str]:
    """What each role may do in a database of the present schema and roles, a line each."""
    return {line for (line,) in connection.execute(RIGHTS).fetchall()}


def promised_rights(version: str) -> set[str]:
    """What each role could do when the version was released."""
    return set((DIRECTORY / f"{version}.rights").read_text().splitlines())


REQUIRED = " required"


def broken(promised: Set[str], present: Set[str]) -> list[str]:
    """What of the promised rights the present ones lack, and which columns rows need only now."""
    lacking = _plain(promised) - _plain(present)
    tables = {_table(line) for line in promised}
    needed = {line for line in present - promised if line.endswith(REQUIRED)}
    return sorted(lacking | {line for line in needed if _table(line) in tables})


def _plain(lines: Set[str]) -> set[str]:
    return {line.removesuffix(REQUIRED) for line in lines}


def _table(line: str) -> str:
    return line.split()[2].rpartition(".")[0]


def write(connection: Connection) -> None:
    """Writes all for the version under way, from a migrated database that has the roles."""
    version = version_under_way()
    if version is None:
        return
    digests = hashes(one.path for one in migrations.known())
    lines = (f"{digest}  {name}\n" for name, digest in digests.items())
    (DIRECTORY / f"{version}.sha256").write_text("".join(lines))
    allowed = (f"{line}\n" for line in sorted(rights(connection)))
    (DIRECTORY / f"{version}.rights").write_text("".join(allowed))
    promised_roles(version).write_bytes((migrations.sql_directory() / "roles.sql").read_bytes())
