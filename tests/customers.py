"""Customers who order over HTTP and pay by webhooks, and say all again until it is answered."""

import threading

import httpx2

from tests.service.shop import ORDERS, WEBHOOKS, Json, event

PAUSE_SECONDS = 0.15
AGAIN_SECONDS = 0.05
TIMEOUT_SECONDS = 5
ORDER = {
    "number": "N",
    "merchantId": "5a0e3a0c-6d7e-4a3e-9f0e-0d6f4c1d2b11",
    "saleChannelId": "0f8c1f1e-7b52-4a3b-8f7b-6f9f1b0b7a22",
    "currency": "EUR",
    "total": "10.00",
    "createdBy": "cashier",
    "items": [{"itemType": "GOODS", "itemId": "tea", "quantity": 1, "mode": "PRODUCT"}],
}


class Stopped(Exception):
    """The customer is to stop, and the request under way stays unanswered."""


class Customer(threading.Thread):
    """`paid`: the orders whose payment the service has acknowledged."""

    def __init__(self, service_url: str, stop: threading.Event) -> None:
        super().__init__(name="customer", daemon=True)
        self.paid: list[str] = []
        self.fault: BaseException | None = None
        self._http = httpx2.Client(base_url=service_url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._stop_asked = stop

    def run(self) -> None:
        try:
            with self._http:
                while not self._stop_asked.wait(PAUSE_SECONDS):
                    self._buy()
        except Stopped:
            pass
        except BaseException as fault:
            self.fault = fault

    def _buy(self) -> None:
        order_id = str(self._insist(ORDERS, ORDER).json()["id"])
        self._insist(f"{ORDERS}/{order_id}/payments", None)
        payment = event("ATTEMPT_SUCCESS", order=order_id, paid="10.00")
        # Providers repeat themselves.
        for _ in range(2):
            answer = self._insist(WEBHOOKS, payment)
            if answer.status_code != 200 or answer.json() != {"acknowledged": True}:
                raise AssertionError(f"webhook: {answer.status_code} {answer.text}")
        self.paid.append(order_id)

    def _insist(self, path: str, body: Json | None) -> httpx2.Response:
        """Posts until the service answers; the answer to a repeated step may be a conflict."""
        while True:
            try:
                answer = self._http.post(path, json=body)
            except httpx2.TransportError:
                pass
            else:
                if answer.status_code in (200, 201, 409):
                    return answer
                if answer.status_code != 503:
                    raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
            if self._stop_asked.wait(AGAIN_SECONDS):
                raise Stopped


def customers(service_url: str, stop: threading.Event, count: int) -> list[Customer]:
    """The threads, not yet started."""
    return [Customer(service_url, stop) for _ in range(count)]
