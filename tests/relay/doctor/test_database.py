"""A database that can't be reached, is not migrated, or is of another cluster is a fault."""

from relay.database import Connection
from tests.conftest import PostgresServer
from tests.relay.doctor.examining import findings, found


def test_a_database_that_does_not_answer_is_a_fault_without_its_password() -> None:
    finding = found("postgresql://relay:hunter2@127.0.0.1:1/shop", "database")
    assert finding.level == "fault"
    assert "127.0.0.1:1/shop" in finding.text
    assert "hunter2" not in finding.text


def test_a_database_that_is_not_migrated_is_a_fault(postgres_server: PostgresServer) -> None:
    with postgres_server.clone("template0") as empty_url:
        faults = [one for one in findings(empty_url) if one.level == "fault"]
    assert [(one.what, one.hint) for one in faults if one.what != "Kafka"] == [
        ("migrations", "run `outbox-relay migrate`")
    ]


def test_a_database_of_another_cluster_is_a_fault(
    database_url: str, connection: Connection
) -> None:
    connection.execute("update outbox.installation set system_identifier = 1")
    finding = found(database_url, "cluster")
    assert finding.level == "fault"
    assert "outbox-relay rebase" in finding.text
