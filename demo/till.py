"""The till's displays: WebSocket clients, each of which sees its order being paid."""

import asyncio
from collections.abc import Sequence

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CLOSE_TIMEOUT_SECONDS = 0.5


class Display:
    """Shows one order. `updates` counts what it was told, whichever process took the webhook.

    `connected` is set once it is: from there on it is told everything, until it is `cut_off`, when
    its service goes away. What happens before it has connected again passes it by.
    """

    def __init__(self, url: str) -> None:
        self.updates = 0
        self.connected = asyncio.Event()
        self.cut_off = False
        self._url = url

    async def watch(self) -> None:
        """Counts updates until cancelled; connects again when its service goes away."""
        async for socket in connect(self._url, proxy=None, close_timeout=CLOSE_TIMEOUT_SECONDS):
            self.connected.set()
            try:
                async for _ in socket:
                    self.updates += 1
            except ConnectionClosed:
                pass
            self.cut_off = True


class Till:
    """The displays of some orders, at each service in turn."""

    def __init__(self, service_urls: Sequence[str]) -> None:
        self.displays: list[Display] = []
        self._urls = [url.replace("http", "ws", 1) for url in service_urls]

    def display(self, order_id: str) -> Display:
        """A new display, which does not watch yet."""
        url = self._urls[len(self.displays) % len(self._urls)]
        self.displays.append(Display(f"{url}/v1/api/sale/ws?orderId={order_id}"))
        return self.displays[-1]

    @property
    def updates(self) -> int:
        return sum(display.updates for display in self.displays)

    @property
    def told(self) -> list[Display]:
        """The displays that were told of their order."""
        return [display for display in self.displays if display.updates]

    @property
    def due(self) -> list[Display]:
        """Those, and the others that were connected all the time.

        All that must be told: they connect before anything is paid, and in the end every order is
        paid, in part at least, or cancelled.
        """
        return [display for display in self.displays if display.updates or not display.cut_off]
