"""POST /v1/event-types/{type}/validate: whether a payload fits, and nothing is published."""

from typing import LiteralString

import msgspec
from msgspec import Raw

from service.checking.frames import Question
from service.database.transaction import Transaction
from service.platform.event_types.view import no_event_type, require
from service.problems import Fault
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

MAX_FAULTS = 20


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a payload fits the version in force; at most 20 of its faults."""

    version: int
    fits: bool
    faults: list[Fault]


class InForce(msgspec.Struct, frozen=True):
    """The version in force; `unkept` is its schema where SQL can't keep it."""

    version: int
    unkept: str | None


IN_FORCE: LiteralString = """
    select v.version, case when v.decides is null then v.schema end as unkept
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.id = %(id)s
"""
FAULTS: LiteralString = """
    select pointer, keyword, detail
    from outbox.event_faults(%(id)s, null, %(payload)s, %(at_most)s)
"""


async def validate_payload(call: Call[Raw, NoQuery]) -> Validation:
    """Says whether a payload fits the version in force, whatever is enforced."""

    payload = bytes(call.body)

    async def work(transaction: Transaction) -> tuple[InForce, list[Fault]]:
        event_type_id = await require(transaction, call.caller, call.ids["type"])
        in_force = await transaction.one(InForce, IN_FORCE, {"id": event_type_id})
        if in_force is None:
            raise no_event_type()
        if in_force.unkept is not None:
            return in_force, []
        parameters = {"id": event_type_id, "payload": payload, "at_most": MAX_FAULTS}
        return in_force, await transaction.all(Fault, FAULTS, parameters)

    in_force, faults = await call.database.run(work)
    if in_force.unkept is not None:
        question = Question(in_force.unkept, payload, MAX_FAULTS)
        [found] = await call.checker.faults([question])
        faults = [Fault(pointer=at, keyword=keyword, detail=said) for at, keyword, said in found]
    return Validation(version=in_force.version, fits=not faults, faults=faults)
