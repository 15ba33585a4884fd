"""Every operation of the payments' HTTP API, in one table. All are public."""

from collections.abc import Awaitable, Callable
from typing import Any

from service.payments.money import decoder
from service.payments.orders import creation, requests, view
from service.payments.served import PATHS
from service.payments.webhook import event, receive
from service.web.operations.ids import UUIDS
from service.web.operations.operation import Call, Operation

SALE = PATHS.rstrip("/")
ORDERS = f"{SALE}/orders"
ORDER = f"{ORDERS}/{{id}}"

Step = Callable[[Call[Any, None]], Awaitable[bytes]]


def _step(path: str, run: Step, body: Any = None) -> Operation:
    """A step of an order's life, which the order's state has to allow."""
    return Operation(
        method="POST",
        path=f"{ORDER}/{path}",
        tag="orders",
        run=run,
        ids=UUIDS,
        query=None,
        body=body,
        decoder=decoder,
        max_body_bytes=None,
        answer=view.Order,
        problems={409: "The order is in another state; `requiredState` says which is needed."},
    )


OPERATIONS = (
    Operation(
        method="POST",
        path=f"{SALE}/webhooks/payment",
        tag="webhooks",
        run=receive.receive_payment,
        query=None,
        # An event of a type that is not known may bring whatever it likes.
        body=event.WebhookBody | event.Envelope,
        decoder=None,
        max_body_bytes=None,
        answer=receive.Acknowledgement,
        problems={401: "The signature is missing, too old or wrong."},
        request_headers=(receive.EVENT_TYPE,),
    ),
    Operation(
        method="POST",
        path=ORDERS,
        tag="orders",
        run=requests.create_order,
        query=None,
        body=creation.OrderForm,
        decoder=decoder,
        max_body_bytes=None,
        answer=view.Order,
        status=201,
        answer_headers=("Location",),
    ),
    Operation(
        method="GET",
        path=ORDER,
        tag="orders",
        run=requests.read_order,
        ids=UUIDS,
        query=None,
        answer=view.Order,
    ),
    _step("payments", requests.start_payment),
    _step("checks/{checkId}/payments", requests.start_check_payment),
    _step("ship", requests.ship_order, body=requests.Shipment),
    _step("deliver", requests.deliver_order),
)
