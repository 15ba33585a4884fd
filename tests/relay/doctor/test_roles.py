"""Rights that a login lacks, or has beyond what a relay needs, are named."""

import pytest
from psycopg import sql

from relay import migrations
from relay.database import Connection
from relay.doctor import roles
from tests.conftest import PostgresServer
from tests.relay.doctor.examining import findings, found


def test_a_right_that_is_missing_is_named(relay_url: str, connection: Connection) -> None:
    connection.execute("revoke insert on outbox.checkpoint from outbox_relay")
    connection.execute("revoke execute on function outbox.hold_source from outbox_relay")
    finding = found(relay_url, "rights")
    assert finding.level == "fault"
    assert "outbox.checkpoint: INSERT" in finding.text
    assert "outbox.hold_source(bigint): EXECUTE" in finding.text


def test_a_database_that_every_login_may_connect_to_is_a_warning(
    database_url: str, connection: Connection
) -> None:
    finding = found(database_url, "connections")
    assert (finding.level, "roles.sql" in finding.hint) == ("warning", True)
    assert migrations.grant_roles(connection)
    assert found(database_url, "connections").level == "ok"


def test_where_else_in_the_cluster_the_roles_come_in_is_told(
    database_url: str,
    connection: Connection,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roles, "MAX_NAMED", 10_000)
    assert migrations.grant_roles(connection)
    with postgres_server.clone() as url:
        name = url.rpartition("/")[2]
        remark = found(database_url, "roles")
        assert (remark.level, name in remark.text) == ("ok", True)
        assert connection.info.dbname not in remark.text
        connection.execute(
            sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name))
        )
        told = [one.text for one in findings(database_url) if one.what == "roles"]
        assert name not in "".join(told)


def test_a_superuser_is_more_than_a_relay_needs(database_url: str) -> None:
    assert found(database_url, "rights").level == "warning"
