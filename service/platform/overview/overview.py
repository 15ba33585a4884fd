"""GET /v1/overview: how all of it does, and what an operator should see to."""

import msgspec

from service.database.transaction import Transaction
from service.platform.overview import findings, fleet
from service.platform.overview.findings import Finding
from service.platform.overview.fleet import Fleet
from service.platform.permission import visible
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class Overview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`fleet` is null for keys that are limited to channels; `findings` are of what they may see.

    `findings` is what an operator should see to, the faults first; empty where all is well.
    """

    fleet: Fleet | None
    findings: list[Finding]


async def read_overview(call: Call[None, NoQuery]) -> Overview:
    """The relays, the log and who holds it back, and what of all that needs an operator."""

    async def work(transaction: Transaction) -> Overview:
        own = await visible(transaction, call.caller)
        whole = await fleet.read(transaction) if own is None else None
        return Overview(
            fleet=whole, findings=await findings.read(transaction, call.caller, own, whole)
        )

    return await call.database.walk(work)
