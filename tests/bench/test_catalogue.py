"""What `make bench-catalogue` compares."""

import psycopg
import pytest

from bench.catalogue import CANDIDATES, payload, prepare
from tests.conftest import PostgresServer

STATE = """
    select exists (select from pg_trigger where tgname = 'check_event_type'),
           (select count(*) from outbox.event_type)
"""
PUBLISH = """
    select outbox.publish('orders.lifecycle', 'order.created', %s::json, group_key => '1')
"""
CHECKED = "select type_version is not null from outbox.message"


def test_the_order_has_500_bytes() -> None:
    assert len(payload().encode()) == 500


@pytest.mark.parametrize(
    ("candidate", "checks", "types"),
    [("without", False, 0), ("off", False, 7), ("report", True, 7), ("refuse", True, 7)],
)
def test_only_an_enforced_type_is_checked(
    postgres_server: PostgresServer, candidate: str, checks: bool, types: int
) -> None:
    with postgres_server.clone() as url, psycopg.connect(url, autocommit=True) as connection:
        prepare(connection, CANDIDATES[candidate])
        assert connection.execute(STATE).fetchone() == (checks, types)
        connection.execute(PUBLISH, [payload()])
        assert connection.execute(CHECKED).fetchall() == [(checks,)]
