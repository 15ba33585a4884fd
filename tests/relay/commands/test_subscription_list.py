"""The list and the status tell how each subscription does."""

import json

import pytest

from relay.database import Connection
from relay.monitoring import status
from relay.operate import status_text, subscription_list
from tests.relay.commands.billing import FAIL, ROW, billing
from tests.relay.operating import outbox_relay, publish


@pytest.mark.usefixtures("secret")
def test_the_list_tells_how_the_endpoint_does_and_never_its_token(
    connection: Connection, database_url: str
) -> None:
    publish(connection)
    connection.execute(FAIL)
    for number, state in enumerate(("retrying", "in_flight", "parked", "behind")):
        group = "2" if state == "behind" else str(number)
        connection.execute(ROW, {"id": number, "group": group, "state": state})
    one = billing(connection)
    assert (one.breaker, one.backlog) == ("open", 1)
    assert (one.retrying, one.in_flight, one.parked, one.behind) == (1, 1, 1, 1)
    told = outbox_relay("subscriptions", "--json", environment={"DATABASE_URL": database_url})
    shown = {row["name"]: row for row in json.loads(told.stdout)}
    assert shown["billing"]["endpoint"] == "https://billing.example.com/…"
    assert shown["kafka"]["breaker"] is None
    text = subscription_list.render(subscription_list.read(connection))
    assert "open until" in text
    assert "hunter2" not in text + told.stdout


@pytest.mark.usefixtures("secret")
def test_status_tells_the_breaker_and_the_rows(connection: Connection) -> None:
    connection.execute(ROW, {"id": 1, "group": "g", "state": "retrying"})
    now = status.read(connection)
    assert {one.name: one.kind for one in now.subscriptions} == {
        "billing": "http",
        "kafka": "kafka",
    }
    (endpoint,) = now.endpoints
    assert (endpoint.breaker, endpoint.retrying) == ("closed", 1)
    assert endpoint.next_due_seconds is not None
    assert 3500 < endpoint.next_due_seconds <= 3600
    assert "in 59m" in status_text.render(now)
