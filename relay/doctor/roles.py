"""What the doctor finds about who may connect: logins and roles are the whole cluster's."""

from collections.abc import Iterator

from relay.database import Connection
from relay.doctor.finding import Finding, ok

MAX_NAMED = 5

PUBLIC = "select has_database_privilege('public', current_database(), 'CONNECT')"
# The two that every cluster begins with hold no shop's data.
ELSEWHERE = """
    select datname::text from pg_database
    where datname not in (current_database(), 'postgres') and datallowconn and not datistemplate
      and (has_database_privilege('outbox_publisher', oid, 'CONNECT')
           or has_database_privilege('outbox_service', oid, 'CONNECT')
           or has_database_privilege('outbox_relay', oid, 'CONNECT')
           or has_database_privilege('outbox_reader', oid, 'CONNECT'))
    order by datname
"""
ROLES = """
    select count(*) = 4 from pg_roles
    where rolname in ('outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader')
"""

# From PostgreSQL 16 on the right to make roles is none to grant those that another role made.
NOT_GRANTABLE = """
    select quote_ident(owner.rolname),
           string_agg(quote_ident(made.rolname), ', ' order by made.rolname)
    from pg_namespace
    join pg_roles as owner on owner.oid = nspowner
    join pg_roles as made on made.rolname
        in ('outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader')
    where nspname = 'outbox' and owner.rolcreaterole and not owner.rolsuper
      and current_setting('server_version_num')::integer >= 160000
      and not pg_has_role(owner.oid, made.oid, 'MEMBER WITH ADMIN OPTION')
    group by owner.rolname
"""


def examine(connection: Connection) -> Iterator[Finding]:
    """Which logins may connect here, and where else the four roles may. Raises psycopg.Error."""
    (public,) = connection.execute(PUBLIC).fetchone() or (False,)
    if public:
        text = "every login of the cluster may connect to this database"
        yield Finding("warning", "connections", text, "apply sql/roles.sql as the database's owner")
    else:
        yield ok("connections", "PUBLIC may not connect to this database")
    (made,) = connection.execute(ROLES).fetchone() or (False,)
    elsewhere = [name for (name,) in connection.execute(ELSEWHERE)] if made else []
    if elsewhere:
        names = ", ".join(elsewhere[:MAX_NAMED]) + (", …" if len(elsewhere) > MAX_NAMED else "")
        text = (
            f"the four roles are the cluster's, and may connect to {names} as well: a member here "
            "is one there, if there is an outbox"
        )
        yield ok("roles", text)
    for owner, groups in connection.execute(NOT_GRANTABLE):
        text = f"{owner} may not grant {groups} to logins, since another role made them"
        hint = f"as a superuser, or as who made them: grant {groups} to {owner} with admin option"
        yield Finding("warning", "roles", text, hint)
