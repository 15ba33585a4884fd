"""POST /v1/connectors/{id}/pause, …/resume, …/seek, …/replay, …/test, and DELETE."""

import msgspec
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.connectors import inward
from service.platform.connectors.config import Start
from service.platform.connectors.refusal import refused
from service.platform.connectors.view import Connector, find, require, require_outward
from service.platform.subscriptions import deletion, pause, replay, testing
from service.platform.subscriptions.deletion import DeleteQuery
from service.platform.subscriptions.replay import Replayed, ReplayForm
from service.platform.subscriptions.testing import Sent
from service.problems import Problem
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


async def pause_connector(call: Call[None, NoQuery]) -> Connector:
    """Holds everything from now on; nothing is dropped. Again does nothing."""

    async def work(transaction: Transaction) -> Connector:
        if (await require(transaction, call.caller, call.id)).direction == "in":
            await inward.pause(transaction, call.caller, call.id)
        else:
            await pause.hold(transaction, call.caller, call.id)
        await note(transaction, call, "connector.pause", call.id)
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


async def resume_connector(call: Call[None, NoQuery]) -> Connector:
    """Goes on where it was paused, in order. Again does nothing."""

    async def work(transaction: Transaction) -> Connector:
        if (await require(transaction, call.caller, call.id)).direction == "in":
            await inward.resume(transaction, call.caller, call.id)
        else:
            await pause.go_on(transaction, call.caller, call.id)
        await note(transaction, call, "connector.resume", call.id)
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


class SeekForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Where an inward connector begins its topic anew."""

    from_: Start = msgspec.field(name="from")


async def seek_connector(call: Call[SeekForm, NoQuery]) -> Connector:
    """Begins the topic of an inward connector anew, and goes on where it was paused."""

    async def work(transaction: Transaction) -> Connector:
        if (await require(transaction, call.caller, call.id)).direction == "out":
            raise Problem(409, "The connector is of direction out; only those of direction in do.")
        await inward.seek(transaction, call.caller, call.id, call.body.from_)
        await note(transaction, call, "connector.seek", call.id, f"from {call.body.from_}")
        return await find(transaction, call.caller, call.id)

    try:
        return await call.database.run(work)
    except sqlstates.CheckViolation as error:
        raise refused(error) from None


async def replay_connector(call: Call[ReplayForm, NoQuery]) -> Replayed:
    """Sends what was published since then again, in order and marked as replayed, or counts it."""

    await call.database.run(lambda transaction: require_outward(transaction, call.caller, call.id))
    return await replay.replay(call, "connector.replay")


async def send_test(call: Call[None, NoQuery]) -> Sent:
    """Queues one message of type `outbox.test` for the connector alone."""

    async def work(transaction: Transaction) -> Sent:
        await require_outward(transaction, call.caller, call.id)
        sent = await testing.send(transaction, call.id)
        await note(transaction, call, "connector.test", call.id, f"message {sent.message_id}")
        return sent

    return await call.database.run(work)


async def delete_connector(call: Call[None, DeleteQuery]) -> None:
    """Ends a connector that has nothing left to deliver, or whose rest is to be lost."""

    async def work(transaction: Transaction) -> bool:
        found = await require(transaction, call.caller, call.id)
        is_inward = found.direction == "in"
        if is_inward:
            await note(transaction, call, "connector.delete", call.id)
            await inward.delete(transaction, call.caller, call.id)
        return is_inward

    if not await call.database.run(work):
        await deletion.delete(call, require_outward, "connector.delete")
