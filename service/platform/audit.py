"""Who changed what: each change notes itself in its own transaction. GET /v1/audit shows it."""

from datetime import datetime
from typing import Any, Literal, LiteralString

import msgspec
from msgspec import UNSET

from service.database.transaction import Transaction
from service.platform.fields import Id
from service.platform.pages import MAX_ID, Page, PageQuery, page, select
from service.problems import shortened
from service.web.operations.operation import Call

Action = Literal[
    "subscription.create",
    "subscription.change",
    "subscription.pause",
    "subscription.resume",
    "subscription.replay",
    "subscription.retry",
    "subscription.test",
    "subscription.rotate_secret",
    "subscription.delete",
    "connector.create",
    "connector.change",
    "connector.pause",
    "connector.resume",
    "connector.replay",
    "connector.seek",
    "connector.test",
    "connector.delete",
    "dead_letter.redrive",
    "inward_dead_letter.redrive",
    "inward_dead_letter.discard",
    "event_type.register",
    "event_type.delete",
]
MAX_SUMMARY_LENGTH = 1000

# A connector is a subscription or a source, and no two of them have one id.
NOTE: LiteralString = """
    insert into outbox.audit
        (api_key_id, key_name, by_console, action, subject, subject_id, summary)
    values (%(api_key_id)s, %(key_name)s, %(by_console)s, %(action)s,
            left(coalesce(%(subject)s::text,
                          (select name from outbox.subscription where id = %(subject_id)s::bigint),
                          (select name from outbox.source where id = %(subject_id)s::bigint),
                          ''), 255),
            %(subject_id)s, %(summary)s)
"""


async def note(
    transaction: Transaction,
    call: Call[Any, Any],
    action: Action,
    subject: str | int,
    summary: str = "",
) -> None:
    """That the caller did this: to the subscription or connector of this id, or what has this name.

    It has a name only while it is there: a deletion is noted first. `summary` repeats no value that
    may be a secret.
    """
    named = isinstance(subject, str)
    parameters = {
        "api_key_id": call.caller.id,
        "key_name": call.caller.name,
        "by_console": call.by_console,
        "action": action,
        "subject": subject if named else None,
        "subject_id": None if named else subject,
        "summary": shortened(summary, MAX_SUMMARY_LENGTH),
    }
    await transaction.execute(NOTE, parameters)


def fields_of(form: msgspec.Struct) -> str:
    """The names of the fields that a caller gave, and none of what they hold."""
    given = (
        field.encode_name
        for field in msgspec.structs.fields(form)
        if (value := getattr(form, field.name)) is not UNSET and value != field.default
    )
    return ", ".join(given)


class AuditQuery(PageQuery, frozen=True, kw_only=True, rename="camel"):
    """`subscriptionId`: what was done to this subscription or connector."""

    subscription_id: Id | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One change, and which key made it.

    `subject` is the name of what was changed, `subjectId` the id of a subscription or connector.
    """

    id: Id
    at: datetime
    key_id: Id
    key_name: str
    by_console: bool
    action: str
    subject: str
    subject_id: Id | None
    summary: str


LIST: LiteralString = """
    select id::text as id, at, api_key_id::text as key_id, key_name, by_console, action, subject,
           subject_id::text as subject_id, summary
    from outbox.audit
    where audit.id < %(before)s
      and (%(key_name)s::text is null or key_name = %(key_name)s)
      and (%(subscription_id)s::bigint is null or audit.subject_id = %(subscription_id)s)
    order by audit.id desc
    limit %(rows)s
"""


async def list_audit(call: Call[None, AuditQuery]) -> Page[Entry]:
    """Changes that keys made, the newest first.

    A key that is limited to channels sees what keys of its own name did.
    """
    before, _ = call.query.place() or (MAX_ID, 0)
    wanted = call.query.subscription_id
    parameters = {
        "before": before,
        "key_name": None if call.caller.channels is None else call.caller.name,
        "subscription_id": None if wanted is None else int(wanted),
        "rows": call.query.limit + 1,
    }
    rows = await select(call, Entry, LIST, parameters)
    return page(rows, call.query.limit, lambda item: item.id)
