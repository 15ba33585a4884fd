"""What the sale publishes, and what the catalogue is told of it, are one thing."""

from pathlib import Path

import psycopg
import pytest

from relay.commands.connection import migrated
from relay.operate import catalogue, event_type_files
from service.payments.event_types import DIRECTORY
from service.payments.event_types.files import files
from tests.event_types import register, register_sale
from tests.eventually import eventually
from tests.relay.operating import settings
from tests.service.shop import Shop, event

# Of what was published on channels that are not the platform's own: which type, in which version.
PUBLISHED = """
    select type, array_agg(distinct type_version) from outbox.message
    where not starts_with(channel, 'outbox.') group by type
"""


def test_the_files_are_what_the_service_publishes() -> None:
    there = {path.name: path.read_bytes() for path in DIRECTORY.glob("*.json")}
    assert there == files(), "make event-types writes them anew"


def test_the_files_are_exported_as_they_were_applied(database_url: str, tmp_path: Path) -> None:
    register_sale(database_url)
    with migrated(settings(database_url)) as connection:
        event_type_files.write(tmp_path, catalogue.export(connection))
    exported, applied = (event_type_files.read(one) for one in (tmp_path, DIRECTORY))
    assert list(exported.values()) == list(applied.values())


def test_whatever_the_sale_publishes_fits_its_type(shop: Shop, database_url: str) -> None:
    types = register_sale(database_url)
    paid = shop.processing_order(customerId="ann", metadata={"finance": [1.10, None, {"x": "ä"}]})
    shop.deliver(event("ATTEMPT_SUCCESS", order=paid["id"], paid=4))
    shop.step(paid["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=paid["id"], paid=10))
    # Too late: without an attempt, and without a transaction.
    shop.deliver(event("ATTEMPT_SUCCESS", order=paid["id"], paid=11))
    shop.deliver(event("ATTEMPT_SUCCESS", order=paid["id"], amount="1.00"))
    shop.step(paid["id"], "ship", {"trackingNumber": "T"})
    shop.step(paid["id"], "deliver")
    given_up = shop.processing_order(customerId=None, closedInSessionId="s")
    shop.deliver(event("ATTEMPT_FAILED", order=given_up["id"], amount=10))
    published = dict(shop.database.execute(PUBLISHED).fetchall())
    assert published == {type_: [1] for type_ in types}


def test_a_payload_of_another_shape_is_refused(shop: Shop, database_url: str) -> None:
    register_sale(database_url)
    with pytest.raises(psycopg.Error) as refused:
        shop.database.execute("select outbox.publish('orders.lifecycle', 'order.paid', '{}')")
    assert refused.value.sqlstate == "OB422"


def test_a_payment_whose_message_does_not_fit_is_to_be_sent_again(
    shop: Shop, database_url: str
) -> None:
    register_sale(database_url)
    order = shop.processing_order()
    paid = event("ATTEMPT_SUCCESS", order=order["id"], paid=10)
    before = shop.state()
    register(
        shop.database, "order.paid", False, channels=["orders.lifecycle"], compatibility="none"
    )
    refused = shop.send(paid)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "order.paid does not fit its event type" in refused.json()["detail"]
    assert shop.state() == before

    def counted() -> None:
        assert (
            'service_unfit_messages_total{type="order.paid"} 1.0' in shop.http.get("/metrics").text
        )

    # Their text is made anew once a second.
    eventually(counted)
    shop.database.execute("update outbox.event_type set enforcement = 'off'")
    shop.deliver(paid)
    assert shop.read(order["id"])["status"] == "COMPLETED"
