"""What metrics and status tell of event types: what was published that does not fit, by type."""

from relay.database import Connection
from relay.monitoring import status
from relay.monitoring.gauges import DatabaseCollector
from relay.operate.status_text import render
from tests.event_types import DOES_NOT, FITS, register
from tests.relay.operating import relay_role, settings

PUBLISH = "select outbox.publish('orders', %s, %s)"


def test_faults_are_counted_by_type(connection: Connection) -> None:
    for type_ in ("order.created", "order.paid"):
        register(connection, type_, enforcement="report")
        connection.execute(PUBLISH, [type_, FITS])
    for _ in range(3):
        connection.execute(PUBLISH, ["order.paid", DOES_NOT])
    with relay_role(connection) as url:
        told = {
            sample.labels["type"]: sample.value
            for metric in DatabaseCollector(settings(url)).collect()
            for sample in metric.samples
            if sample.name == "outbox_relay_event_type_faults"
        }
    assert told == {"order.paid": 3}
    table = render(status.read(connection))
    [line] = [one for one in table.splitlines() if one.startswith("order.paid")]
    assert "/orderId" in line
    assert "order.created" not in table
