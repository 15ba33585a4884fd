"""What the doctor finds about schemas: where every login may put what others call by its name."""

from collections.abc import Iterator

from relay.database import Connection
from relay.doctor.finding import Finding, ok

# A path is a role's, this database's, this session's, or the default. "$user" in it stands for a
# schema of the role's name.
OPEN_SCHEMAS = """
    with path (value) as (
        select reset_val from pg_settings where name = 'search_path'
        union all
        select substr(setting, length('search_path=') + 1)
        from pg_db_role_setting
        cross join lateral unnest(setconfig) as setting
        where setdatabase in (0, (select oid from pg_database where datname = current_database()))
          and starts_with(setting, 'search_path=')
        union all
        select '"$user", public'
    ),
    named (name) as (
        select trim(both '" ' from part)
        from path cross join lateral unnest(string_to_array(value, ',')) as part
    )
    select nspname from pg_namespace
    where has_schema_privilege('public', oid, 'create')
      and (nspname in (select name from named)
           or nspname in (select rolname from pg_roles) and '$user' in (select name from named))
    order by nspname limit 20
"""


def examine(connection: Connection) -> Iterator[Finding]:
    """What any login makes there, others may call in place of what they mean. Raises psycopg.Error.

    The relay and the service look nothing up in a path; another program in this database may.
    """
    found = [name for (name,) in connection.execute(OPEN_SCHEMAS)]
    for name in found:
        text = (
            f"every login may create in schema {name}, which a search_path names: a function or an "
            "operator made there is called by others in place of what they mean, with their rights"
        )
        hint = f"revoke create on schema {_quoted(name)} from public"
        yield Finding("warning", "schemas", text, hint)
    if not found:
        yield ok("schemas", "PUBLIC may create in none that a search_path names")


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
