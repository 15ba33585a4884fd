"""GET /catalogue: the types, found by a text or by a channel, a page at a time."""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from service.console.access import reader, signed_in
from service.console.catalogue import reading
from service.console.catalogue.counts import Counts
from service.console.catalogue.reading import Channel, Outline, Subscriber
from service.console.page import as_page, rendered
from service.database.pool import Database
from service.database.transaction import Transaction
from service.platform.asyncapi import described

PATH = "/catalogue"
ROWS = 50
MAX_TEXT_LENGTH = 200
_PAGE = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Asked:
    """What of the catalogue is shown: a text, a channel, the number of the page."""

    text: str
    channel: str
    page: int

    def address(self, page: int = 1) -> str:
        """Of another page of the same."""
        named = {"q": self.text, "channel": self.channel, "page": str(page) if page > 1 else ""}
        query = urlencode({name: value for name, value in named.items() if value})
        return f"{PATH}?{query}" if query else PATH

    @property
    def skipped(self) -> int:
        """Rows of the pages before."""
        return (self.page - 1) * ROWS


@dataclass(frozen=True)
class Found:
    """What is shown of it; `topic` of the channel, where it goes to Kafka."""

    types: list[Outline]
    channels: list[Channel]
    subscribers: list[Subscriber]
    topic: str | None


def asked(query: QueryParams) -> Asked:
    """What is malformed is left out: a page has nobody to tell."""
    written = {name: query.get(name, "").replace("\0", "").strip() for name in ("q", "channel")}
    page = query.get("page", "")
    return Asked(
        text=written["q"][:MAX_TEXT_LENGTH],
        channel=written["channel"][:MAX_TEXT_LENGTH],
        page=int(page) if _PAGE.fullmatch(page) else 1,
    )


@as_page
async def show_types(request: Request) -> Response:
    """The page."""
    caller = await reader(request)
    wanted = asked(request.query_params)
    database: Database = request.state.database
    counts: Counts = request.state.counts

    async def work(transaction: Transaction) -> Found:
        types = await reading.types(
            transaction,
            caller,
            channel=wanted.channel or None,
            text=wanted.text or None,
            rows=ROWS,
            skipped=wanted.skipped,
        )
        channels = await reading.channels(transaction, caller)
        if not wanted.channel or not types:
            return Found(types, channels, [], None)
        subscribers = await reading.subscribers(transaction, caller, [wanted.channel], None)
        prefix = described.topic_prefix(
            await described.routes(transaction),
            wanted.channel,
            [one.type for one in types],
            request.state.settings.topic_prefix,
        )
        topic = None if prefix is None else f"{prefix}{wanted.channel}"
        return Found(types, channels, subscribers, topic)

    found = await database.walk(work)
    return rendered(
        "catalogue/index.html",
        visit=signed_in(request),
        asked=wanted,
        found=found,
        matching=found.types[0].matching if found.types else 0,
        rows=ROWS,
        counted=await counts.now(),
        max_channels=reading.MAX_CHANNELS,
        max_subscribers=reading.MAX_SUBSCRIBERS,
    )
