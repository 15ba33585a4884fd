"""POST /v1/subscriptions/{id}/rotate-secret: what an endpoint's requests are signed with."""

from typing import Literal, LiteralString

import msgspec

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.permission import require_http
from service.secret_keys import new_secret
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class Secret(msgspec.Struct, frozen=True):
    """`whsec_` and base64; shown here and nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return "Secret()"


class RotationForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """How long the secrets before the new one serve: no longer, or for a day more."""

    revoke_old: Literal["now", "after_a_day"] = "after_a_day"


# The secret, or NULL where it got a sealed one.
ROTATE: LiteralString = """
    select outbox.rotate_secret(%(id)s, %(revoke_old)s, %(sealed)s)
"""


async def rotate_secret(call: Call[RotationForm, NoQuery]) -> Secret:
    """A new secret; for a day requests are signed with those before it as well, unless revoked."""
    made = new_secret(call.settings.secret_key)
    parameters = {"id": call.id, "revoke_old": call.body.revoke_old, "sealed": made.sealed}

    async def work(transaction: Transaction) -> Secret:
        await require_http(transaction, call.caller, call.id)
        made_by_sql = await transaction.value(str, ROTATE, parameters)
        shown = made.shown or made_by_sql
        assert shown is not None
        detail = f"the old one revoked {call.body.revoke_old.replace('_', ' ')}"
        await note(transaction, call, "subscription.rotate_secret", call.id, detail)
        return Secret(shown)

    return await call.database.run(work)
