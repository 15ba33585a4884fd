"""A schema that shadows all of pg_catalog, and tells what of it was used.

A session whose search_path begins with it finds there, under every name of an operator, function,
type or relation, one that takes the same arguments, notes that it was called, and raises. So a
statement works among the shadows only if it looks none of its names up in that path.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from relay import migrations
from tests.conftest import PostgresServer
from tests.eventually import eventually

# As a role's, a database's or a client's setting would say it.
PATH = "shadow, public, pg_catalog"
SET_PATH = "-csearch_path=shadow,public,pg_catalog"

# What a role or a database may bring besides, each as bad as it can be. Bounds are those under
# which the statement that lifts them still runs on a busy machine.
SETTINGS = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Pacific/Apia",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "client_encoding": "latin1",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "lock_timeout": "1ms",
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
}

# A sequence's value outlives the rollback that the exception brings.
LAY: LiteralString = """
create schema shadow;
create schema shadow_log;
grant usage on schema shadow, shadow_log to public;
create sequence shadow_log.sprung;
grant all on sequence shadow_log.sprung to public;
create table shadow_log.made (n bigint primary key, name text not null);
create function shadow_log.spring(n bigint) returns boolean language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform setval('shadow_log.sprung', n);
    raise exception 'shadow: % was called', n using errcode = 'XX000';
end
$$;

do $do$
declare
    n    bigint := 1;
    one  record;
    body text := $$ as 'begin
        perform pg_catalog.setval(''shadow_log.sprung'', %1$s);
        raise exception ''shadow: %1$s was called'' using errcode = ''XX000'';
    end'$$;
begin
    perform set_config('check_function_bodies', 'off', true);
    for one in
        -- Those that take arguments of any type can only be had for some.
        with argument as (
            select p.proname,
                   case when p.prokind in ('f', 'p') then pg_get_function_arguments(p.oid)
                        else array_to_string(array(select format_type(type, null)
                                                   from unnest(p.proargtypes) as type), ', ') end
                   as arguments,
                   case when proretset then 'setof ' else '' end
                   || format_type(p.prorettype, null) as result
            from pg_proc as p where p.pronamespace = 'pg_catalog'::regnamespace
        )
        select proname, arguments, result from argument where arguments not like '%"any"%'
        union all
        select distinct proname, regexp_replace(arguments, '(VARIADIC )?([a-z_]+ )?"any"', instead),
               result
        from argument
        cross join (values
            ('anyelement'), ('text'), ('bigint'), ('variadic text[]'), ('text, anyelement'),
            ('anyelement, anyelement'), ('text, text, text, text'),
            ('text, text, text, anyelement')) as variant (instead)
        where arguments like '%"any"%'
    loop
        begin
            execute format('create function shadow.%I(%s) returns %s language plpgsql',
                           one.proname, one.arguments, one.result) || format(body, n);
            insert into shadow_log.made values (n, one.proname || '(' || one.arguments || ')');
            n := n + 1;
        exception when others then null;  -- of types that no function but C's takes
        end;
    end loop;
    for one in
        select oprname, nullif(oprleft, 0)::regtype as left, oprright::regtype as right,
               oprresult::regtype as result
        from pg_operator where oprnamespace = 'pg_catalog'::regnamespace
    loop
        begin
            execute format('create function shadow_log.operator_%s(%s) returns %s language plpgsql',
                           n, concat_ws(', ', one.left, one.right), one.result) || format(body, n);
            execute format('create operator shadow.%s '
                           '(%s rightarg = %s, function = shadow_log.operator_%s)',
                           one.oprname, 'leftarg = ' || one.left || ', ', one.right, n);
            insert into shadow_log.made values
                (n, format('%s %s %s', one.left, one.oprname, one.right));
            n := n + 1;
        exception when others then null;
        end;
    end loop;
end
$do$;
"""

# As the role that makes them, in a schema of its own: `shadow`, or their own pg_temp.
TYPES: LiteralString = """
select typname from pg_catalog.pg_type
where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typname not like '\\_%'
order by typname
"""
RELATIONS: LiteralString = """
select distinct relname from pg_catalog.pg_class
where relkind in ('r', 'p', 'v')
  and relnamespace::regnamespace::text in ('pg_catalog', 'outbox', 'sale', 'inbox')
order by relname
"""
DOMAIN = "create domain {} as pg_catalog.{} check (shadow_log.spring({}))"
VIEW = "create view {} as select shadow_log.spring({}) as sprung"
SPRUNG: LiteralString = """
select case when is_called then
           coalesce((select name from shadow_log.made where n = last_value), 'a type or relation')
       end
from shadow_log.sprung
"""


def lay(connection: psycopg.Connection[Any]) -> None:
    """Makes operators and functions in the connection's database, and then types."""
    connection.execute(LAY)
    shadow_types(connection, "shadow")


def shadow_types(connection: psycopg.Connection[Any], schema: str) -> None:
    """In a schema of the session's, such as its pg_temp."""
    names = [name for (name,) in connection.execute(TYPES)]
    _make(connection, DOMAIN, schema, names, twice=True)


def shadow_relations(connection: psycopg.Connection[Any], schema: str) -> None:
    """Those of pg_catalog and the ones that migrations have made."""
    names = [name for (name,) in connection.execute(RELATIONS)]
    _make(connection, VIEW, schema, names, twice=False)
    if schema == "shadow":
        connection.execute("grant select on all tables in schema shadow to public")


def _make(
    connection: psycopg.Connection[Any],
    statement: LiteralString,
    schema: str,
    names: list[str],
    *,
    twice: bool,
) -> None:
    for number, name in enumerate(names, 1_000_000):
        what = [sql.Identifier(schema, name), sql.Literal(number)]
        if twice:
            what.insert(1, sql.Identifier(name))
        try:
            with connection.transaction():
                connection.execute(sql.SQL(statement).format(*what))
        except psycopg.errors.Error as impossible:
            raise AssertionError(f"{schema}.{name} can't be shadowed") from impossible


@contextmanager
def shadowed(server: PostgresServer) -> Iterator[str]:
    """The URL of a database in which the shadows were there before the migrations ran.

    It is clean: only who connects with the PATH is among them. A template for the tests.
    """
    with server.clone("template0") as url:
        with psycopg.connect(url, autocommit=True) as owner:
            lay(owner)
        migrate(url)
        with psycopg.connect(url, autocommit=True) as owner:
            shadow_relations(owner, "shadow")
            assert sprung(owner) is None
        yield url


def migrate(url: str) -> None:
    """As a superuser among the shadows."""
    with psycopg.connect(url, autocommit=True, options=SET_PATH) as owner:
        assert list(migrations.migrate(owner, outbox_only=False))
        assert migrations.grant_roles(owner)


@contextmanager
def among_shadows(
    url: str, group: str | None, settings: Mapping[str, str] = SETTINGS
) -> Iterator[str]:
    """The URL for a new login; its role brings PATH and settings.

    It is a member of `group`; without one, a superuser.
    """
    name = f"shadowed_{uuid.uuid4().hex}"
    role = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as owner:
        if group is None:
            owner.execute(sql.SQL("create role {} login superuser").format(role))
        else:
            member = sql.SQL("create role {} login in role {}")
            owner.execute(member.format(role, sql.Identifier(group)))
        owner.execute(sql.SQL("alter role {} set search_path = " + PATH).format(role))
        for setting, value in settings.items():
            bring = sql.SQL("alter role {} set {} = {}")
            owner.execute(bring.format(role, sql.Identifier(setting), sql.Literal(value)))
        try:
            yield make_conninfo(url, user=name)
        finally:
            # Its sessions take their temporary objects away as they end.
            eventually(partial(_gone, owner, name))
            owner.execute(sql.SQL("drop owned by {}").format(role))
            owner.execute(sql.SQL("drop role {}").format(role))


def sprung(connection: psycopg.Connection[Any]) -> str | None:
    """What was called of the shadows last; None: nothing ever was."""
    row = connection.execute(SPRUNG).fetchone()
    assert row is not None
    name: str | None = row[0]
    return name


def _gone(owner: psycopg.Connection[Any], role: str) -> None:
    query = "select count(*) from pg_stat_activity where usename = %s"
    assert owner.execute(query, [role]).fetchone() == (0,)
