"""The span of a request to an endpoint, once it has ended."""

from contextlib import suppress
from typing import TYPE_CHECKING

from relay.log.message import HEADERS
from relay.push.http.answer import Answer
from relay.push.http.url import parse
from relay.push.item import Item
from relay.push.policy.verdict import UNSENT
from relay.push.target import Target

if TYPE_CHECKING:
    from relay.monitoring.spans import Spans


def trace(spans: "Spans", target: Target, url: str, item: Item, answer: Answer) -> None:
    """Of an attempt, while its message is still there."""
    if answer.error in UNSENT or item.row is None:
        return
    # What becomes of the message must not depend on its span.
    with suppress(Exception):
        origin = parse(url).origin
        spans.attempt(
            item.row[HEADERS],
            subscription=target.subscription,
            message_id=item.message_id,
            server=(origin.scheme, origin.host, origin.port),
            attempts=item.attempts,
            sent_at=item.sent_at,
            seconds=answer.seconds,
            status=answer.status,
            error=answer.error,
        )
