"""Every operation of the payments' HTTP API, in one table. All are public."""

from service.payments.money import decoder
from service.payments.orders import creation, requests, view
from service.payments.switch import PATHS
from service.payments.webhook import event, receive
from service.web.ids import UUIDS
from service.web.operation import Operation

SALE = PATHS.rstrip("/")
ORDERS = f"{SALE}/orders"
ORDER = f"{ORDERS}/{{id}}"
CHECK = f"{ORDER}/checks/{{checkId}}"

STATE = {409: "The order is in another state; `requiredState` says in which it has to be."}

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
    Operation(
        method="POST",
        path=f"{ORDER}/payments",
        tag="orders",
        run=requests.start_payment,
        ids=UUIDS,
        query=None,
        answer=view.Order,
        problems=STATE,
    ),
    Operation(
        method="POST",
        path=f"{CHECK}/payments",
        tag="orders",
        run=requests.start_check_payment,
        ids=UUIDS,
        query=None,
        answer=view.Order,
        problems=STATE,
    ),
    Operation(
        method="POST",
        path=f"{ORDER}/ship",
        tag="orders",
        run=requests.ship_order,
        ids=UUIDS,
        query=None,
        body=requests.Shipment,
        decoder=decoder,
        max_body_bytes=None,
        answer=view.Order,
        problems=STATE,
    ),
    Operation(
        method="POST",
        path=f"{ORDER}/deliver",
        tag="orders",
        run=requests.deliver_order,
        ids=UUIDS,
        query=None,
        answer=view.Order,
        problems=STATE,
    ),
)
