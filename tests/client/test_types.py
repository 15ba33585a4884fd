"""Type checkers see each method as it is described, in both forms; `make lint` holds these."""

import inspect
from typing import TYPE_CHECKING, assert_type

from outbox_client import AsyncOutbox, Outbox

if TYPE_CHECKING:
    from outbox_client import AsyncPages, Delivery, Pages, Published, Redriven, Subscription

    def sync_methods(outbox: Outbox) -> None:
        published = outbox.messages.publish(channel_id="orders", type="paid", payload={"id": 7})
        assert_type(published, Published)
        assert_type(outbox.deliveries.list(state="parked"), Pages[Delivery])
        assert_type(outbox.subscriptions.pause("7"), Subscription)
        outbox.messages.publish(channel_id="orders", typ="paid", payload=1)  # type: ignore[call-arg]
        outbox.messages.publish(channel_id="orders", type="paid")  # type: ignore[call-arg]
        outbox.deliveries.list(state="late")  # type: ignore[arg-type]
        outbox.subscriptions.pause(7)  # type: ignore[arg-type]

    async def async_methods(outbox: AsyncOutbox) -> None:
        assert_type(await outbox.dead_letters.redrive(ids=["7"]), Redriven)
        assert_type(outbox.deliveries.list(), AsyncPages[Delivery])
        async for delivery in outbox.deliveries.list():
            assert_type(delivery, Delivery)
        await outbox.messages.publish(channel_id="orders", type="paid")  # type: ignore[call-arg]


def test_help_shows_a_method_as_it_is_described() -> None:
    outbox = Outbox("http://127.0.0.1:1", "key")
    pause = outbox.subscriptions.pause
    assert [*inspect.signature(pause).parameters] == ["id"]
    assert (pause.__name__, pause.__doc__) == (
        "pause",
        "Holds everything from now on; nothing is dropped. Again does nothing.",
    )
