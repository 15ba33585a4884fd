"""The service forgets webhooks after SERVICE_RECEIVED_DAYS, and makes room for those to come."""

from collections.abc import Callable

import pytest

from service.settings import SettingsError, from_environment
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.api import Platform
from tests.sql.log import let_days_pass

RECEIVED = "sale.received_webhook"

RECEIVE = """
insert into sale.received_webhook (key, order_id, event_type)
values (%s, gen_random_uuid(), 'ATTEMPT_SUCCESS')
"""
KEYS = "select key from sale.received_webhook order by key"


def test_a_service_that_may_not_delete_forgets_what_is_older_than_its_days(
    platform: Platform, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    """As a login that is nothing but a member of outbox_service."""
    database = platform.database
    # In partitions that ended 160, 110, 60 and 10 days ago.
    for key in ("a", "b", "c", "d"):
        database.execute(RECEIVE, [key])
        let_days_pass(database, 45, RECEIVED)
        database.execute("select sale.turn_received(180)")
        let_days_pass(database, 5, RECEIVED)
    let_days_pass(database, 5, RECEIVED)
    port = free_port()
    environment = {
        "DATABASE_URL": platform.service_url,
        "SERVICE_PORT": str(port),
        "SERVICE_RECEIVED_DAYS": "100",
    }
    url = f"http://127.0.0.1:{port}/readyz"
    spawn("outbox-service", environment=environment, ready_url=url)

    def forgotten() -> None:
        assert database.execute(KEYS).fetchall() == [("c",), ("d",)]

    eventually(forgotten)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "many"])
def test_days_that_are_none_stop_the_start(days: str) -> None:
    environment = {"DATABASE_URL": "postgresql://db/x", "SERVICE_RECEIVED_DAYS": days}
    with pytest.raises(SettingsError, match="SERVICE_RECEIVED_DAYS"):
        from_environment(environment)


def test_the_default_is_180_days() -> None:
    settings, _ = from_environment({"DATABASE_URL": "postgresql://db/x"})
    assert settings.received_days == 180
