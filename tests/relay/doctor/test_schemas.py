"""A schema on the path in which any login may create is named."""

import psycopg
from psycopg import sql

from relay.database import Connection
from tests.relay.doctor.examining import findings, found

OPEN = sql.SQL("create schema if not exists {0}; grant create on schema {0} to public")


def open_schema(connection: Connection, name: str) -> None:
    connection.execute(OPEN.format(sql.Identifier(name)))


def test_a_schema_where_anybody_may_create_and_a_path_leads_is_named_with_its_mend(
    connection: Connection, relay_url: str
) -> None:
    assert found(relay_url, "schemas").level == "ok"
    open_schema(connection, "public")
    finding = found(relay_url, "schemas")
    assert finding.level == "warning"
    assert "public" in finding.text
    connection.execute(finding.hint.encode())
    assert found(relay_url, "schemas").level == "ok"


def test_so_is_one_that_a_role_s_or_the_database_s_path_names(
    connection: Connection, relay_url: str
) -> None:
    role = psycopg.conninfo.conninfo_to_dict(relay_url)["user"]
    names = ["on a role's path", "on the database's", f"{role}", "on no path"]
    for name in names:
        open_schema(connection, name)
    paths = [("role", f"{role}", names[0]), ("database", connection.info.dbname, names[1])]
    for kind, of, path in paths:
        connection.execute(
            sql.SQL("alter {} {} set search_path = {}, pg_catalog").format(
                sql.SQL(kind), sql.Identifier(of), sql.Identifier(path)
            )
        )
    told = [one.text for one in findings(relay_url) if one.what == "schemas"]
    assert len(told) == 3
    for name in names[:3]:
        assert any(name in text for text in told), name
