"""What the doctor says of event types."""

from relay.database import Connection
from tests.event_types import DOES_NOT, FITS, register
from tests.relay.doctor.examining import found
from tests.relay.operating import relay_role

WHAT = "event types"
PUBLISH = "select outbox.publish('orders', 'order.created', %s)"


def test_a_catalogue_without_faults_is_well(connection: Connection, relay_url: str) -> None:
    assert found(relay_url, WHAT).level == "ok"
    register(connection, "order.created")
    register(connection, "order.paid", enforcement="off")
    connection.execute(PUBLISH, [FITS])
    finding = found(relay_url, WHAT)
    assert (finding.level, finding.text.startswith("2 are registered, and 1 enforced")) == (
        "ok",
        True,
    )


def test_what_does_not_fit_lately_is_said_with_its_owner(
    connection: Connection, relay_url: str
) -> None:
    register(connection, "order.created", enforcement="report", owner="shop")
    connection.execute(PUBLISH, [DOES_NOT])
    finding = found(relay_url, WHAT)
    assert finding.level == "warning"
    assert finding.text == 'order.created: 1 do not fit, the last by type at "/orderId"'
    assert "shop" in finding.hint
    connection.execute("update outbox.event_type_fault set at = at - interval '2 days'")
    assert found(relay_url, WHAT).level == "ok"


def test_a_check_that_is_gone_is_said(connection: Connection) -> None:
    register(connection, "order.created")
    with relay_role(connection, "outbox_reader") as url:
        assert found(url, WHAT).level == "ok"
        connection.execute("alter table outbox.message disable trigger check_event_type")
        assert found(url, WHAT).level == "warning"
        connection.execute("drop trigger check_event_type on outbox.message")
        finding = found(url, WHAT)
    assert finding.level == "warning"
    assert "outbox.require_event_check()" in finding.hint
    connection.execute("select outbox.require_event_check()")
    assert found(str(connection.info.dsn), WHAT).level == "ok"
