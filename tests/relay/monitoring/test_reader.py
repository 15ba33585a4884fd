"""Who only reads may look at everything that says how it stands, and is told what it can't see."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from relay.database import Connection
from relay.doctor import examination
from relay.operate import subscription
from tests.relay.operating import add_dead_letter, outbox_relay, publish, relay_role, settings

ENDPOINT = "https://billing.example.com/in/t0ken?key=hunter2"


@pytest.fixture
def connection(any_database_url: str) -> Iterator[Connection]:
    """A database with an endpoint, a message and a dead letter."""
    with psycopg.connect(any_database_url, autocommit=True) as connection:
        subscription.add(connection, "billing", channels=["orders"], endpoint=ENDPOINT, settings={})
        publish(connection)
        add_dead_letter(connection, 1)
        yield connection


@pytest.fixture
def reader_url(connection: Connection) -> Iterator[str]:
    with relay_role(connection, "outbox_reader") as url:
        yield url


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    ["status", "status --json", "subscriptions", "subscriptions --json", "channels list"],
)
def test_a_reader_sees_what_a_relay_sees(
    reader_url: str, any_database_url: str, words: str
) -> None:
    seen = outbox_relay(*words.split(), environment={"DATABASE_URL": reader_url})
    assert (seen.returncode, seen.stderr) == (0, "")
    owners = outbox_relay(*words.split(), environment={"DATABASE_URL": any_database_url})
    assert seen.stdout.count("billing") == owners.stdout.count("billing")
    assert "t0ken" not in seen.stdout
    assert "hunter2" not in seen.stdout


def test_the_doctor_examines_what_a_reader_sees_and_says_what_not(
    reader_url: str, any_database_url: str
) -> None:
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    seen = list(examination.examine(settings(reader_url, **kafka)))
    # Of each database but the owner's rights and what leads outside.
    hidden = {"rights", "endpoint", "endpoints", "secrets", "Kafka", "topics", "transactions"}
    whole = [one.what for one in examination.examine(settings(any_database_url))]
    assert [one.what for one in seen if one.what != "rights"] == [
        what for what in whole if what not in hidden
    ]
    (rights,) = [one for one in seen if one.what == "rights"]
    assert (rights.level, "are not looked at" in rights.text) == ("warning", True)
    assert [one for one in seen if one.level == "fault"] == []


def test_an_owner_who_also_reads_is_examined_as_an_owner(
    connection: Connection, any_database_url: str
) -> None:
    with relay_role(connection, "outbox_reader") as url:
        name = urlsplit(url).username
        assert name is not None
        connection.execute(
            sql.SQL("alter table outbox.message owner to {}").format(sql.Identifier(name))
        )
        seen = {one.what: one.text for one in examination.examine(settings(url))}
        connection.execute("alter table outbox.message owner to postgres")
    assert "only reads" not in seen["rights"]


def test_the_doctor_says_that_it_judged_by_its_own_settings(any_database_url: str) -> None:
    (said,) = [
        one for one in examination.examine(settings(any_database_url)) if one.what == "settings"
    ]
    assert "of this shell" in said.text


@pytest.mark.parametrize(
    "words", ["dead-letters list", "dead-letters show 1", "subscriptions show billing"]
)
def test_what_a_reader_may_not_see_is_refused_with_what_it_takes(
    reader_url: str, words: str
) -> None:
    refused = outbox_relay(*words.split(), environment={"DATABASE_URL": reader_url})
    assert refused.returncode == 1
    assert "needs a role with more rights" in refused.stderr
