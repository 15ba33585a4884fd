"""The till's display: a WebSocket client that sees its order being paid."""

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CLOSE_TIMEOUT_SECONDS = 0.5


class Till:
    """Displays of some orders. `updates` counts what they were told, whichever process took it."""

    def __init__(self, service_url: str) -> None:
        self.updates = 0
        self._url = service_url.replace("http", "ws", 1) + "/v1/api/sale/ws"

    async def watch(self, order_id: str) -> None:
        """Counts updates until cancelled; connects again when its service goes away."""
        url = f"{self._url}?orderId={order_id}"
        async for socket in connect(url, proxy=None, close_timeout=CLOSE_TIMEOUT_SECONDS):
            try:
                async for _ in socket:
                    self.updates += 1
            except ConnectionClosed:
                continue
