"""`Idempotency-Key`: a request that is sent again gets its first answer, and has one effect."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

import msgspec

from service.database.transaction import Transaction
from service.problems import Problem
from service.web.operations.operation import Call, RequestHeader

HEADER = "Idempotency-Key"
KEY = r"^[!-~]{1,255}$"
REQUEST_HEADER = RequestHeader(
    HEADER,
    "The same key and body within 24 hours get the first answer again and have no second effect; "
    "the same key with another body gets 409. Per API key.",
    {"type": "string", "pattern": KEY},
)
# Each request writes one row at most: with more than that deleted, none pile up.
TRIMMED_PER_REQUEST = 4

_KEY = re.compile(KEY[:-1])


class Known(msgspec.Struct, frozen=True):
    """A request that came before with this key."""

    fingerprint: bytes
    answer: bytes


# Waits for another request that has claimed the key in a transaction that is still open. If that
# one commits, nothing is returned here, and the next statement reads its answer.
CLAIM: LiteralString = """
    insert into outbox.idempotent_request as known (api_key_id, key, fingerprint)
    values (%(api_key_id)s, %(key)s, %(fingerprint)s)
    on conflict (api_key_id, key) do update
        set fingerprint = excluded.fingerprint, answer = null, created_at = excluded.created_at
        where known.created_at < clock_timestamp() - interval '1 day'
    returning api_key_id
"""
READ: LiteralString = """
    select fingerprint, answer from outbox.idempotent_request
    where api_key_id = %(api_key_id)s and key = %(key)s
"""
ANSWERED: LiteralString = """
    update outbox.idempotent_request set answer = %(answer)s
    where api_key_id = %(api_key_id)s and key = %(key)s
"""
TRIM: LiteralString = "select outbox.trim_idempotency(%(at_most)s)"


async def once(
    call: Call[Any, Any],
    transaction: Transaction,
    work: Callable[[Transaction], Awaitable[bytes]],
) -> bytes:
    """The answer of `work`, done at most once in 24 hours per key of the caller.

    Only what commits is remembered: a request that failed may be sent again. Raises Problem: 422
    for a key that is none, 409 where it came with another body or to another path.
    """
    if not (keys := call.headers.getlist(HEADER)):
        return await work(transaction)
    if len(keys) > 1:
        raise Problem(422, f"{HEADER} is given twice.", field=HEADER)
    [key] = keys
    if not _KEY.fullmatch(key):
        detail = f"{HEADER} must be 1 to 255 printable ASCII characters without spaces."
        raise Problem(422, detail, field=HEADER)
    fingerprint = hashlib.sha256(call.path.encode() + b"\n" + call.raw_body).digest()
    row: dict[str, object] = {"api_key_id": call.caller.id, "key": key}
    claimed = await transaction.value(int, CLAIM, {**row, "fingerprint": fingerprint})
    if claimed is None:
        known = await transaction.one(Known, READ, row)
        assert known is not None, "no row is deleted within its first day"
        if known.fingerprint != fingerprint:
            raise Problem(409, f"{HEADER} was used for another request.", field=HEADER)
        return known.answer
    answer = await work(transaction)
    await transaction.execute(ANSWERED, {**row, "answer": answer})
    await transaction.execute(TRIM, {"at_most": TRIMMED_PER_REQUEST})
    return answer
