"""The service forgets webhooks after SERVICE_RECEIVED_DAYS, and makes room for those to come."""

from collections.abc import Callable

import pytest

from service.settings import SettingsError, from_environment
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.api import Platform

RECEIVE = """
insert into sale.received_webhook (key, order_id, event_type, received_at)
values (%s, gen_random_uuid(), 'ATTEMPT_SUCCESS', clock_timestamp() - make_interval(days => %s))
"""
KEYS = "select key from sale.received_webhook order by key"


def test_a_service_that_may_not_delete_lets_months_go_that_are_older_than_its_days(
    platform: Platform, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    """As a login that is nothing but a member of outbox_service."""
    database = platform.database
    for key, days_ago in (("a", 0), ("b", 95), ("c", 150), ("d", 1000)):
        database.execute(RECEIVE, [key, days_ago])
    # So that they have months of their own.
    database.execute("select sale.turn_received(180)")
    port = free_port()
    environment = {
        "DATABASE_URL": platform.service_url,
        "SERVICE_PORT": str(port),
        "SERVICE_RECEIVED_DAYS": "100",
    }
    url = f"http://127.0.0.1:{port}/readyz"
    spawn("outbox-service", environment=environment, ready_url=url)

    def forgotten() -> None:
        assert database.execute(KEYS).fetchall() == [("a",), ("b",)]

    eventually(forgotten)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "many"])
def test_days_that_are_none_stop_the_start(days: str) -> None:
    environment = {"DATABASE_URL": "postgresql://db/x", "SERVICE_RECEIVED_DAYS": days}
    with pytest.raises(SettingsError, match="SERVICE_RECEIVED_DAYS"):
        from_environment(environment)


def test_the_default_is_180_days() -> None:
    settings, _ = from_environment({"DATABASE_URL": "postgresql://db/x"})
    assert settings.received_days == 180
