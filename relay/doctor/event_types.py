"""What the doctor finds about event types: whether they are checked, and what does not fit them."""

from collections.abc import Iterator

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.monitoring.status import event_type_faults

WHAT = "event types"
MAX_SHOWN = 20
DAY_SECONDS = 86_400
TYPES = """
    select count(*), count(*) filter (where enforcement <> 'off') from outbox.event_type_state
"""
# The log itself says whether a row is checked; a partition has what the table has.
IS_CHECKED = """
    select exists (
        select from pg_trigger
        where tgrelid = 'outbox.message'::regclass and tgname = 'check_event_type'
          and tgenabled in ('O', 'A'))
"""


def examine(connection: Connection) -> Iterator[Finding]:
    """What the database shows. Raises psycopg.Error."""
    types, enforced = connection.execute(TYPES).fetchone() or (0, 0)
    (is_checked,) = connection.execute(IS_CHECKED).fetchone() or (False,)
    if enforced and not is_checked:
        text = f"{enforced} are enforced, and the log has no check that is enabled"
        hint = (
            "alter table outbox.message enable trigger check_event_type; where there is none: "
            "select outbox.require_event_check(), as the owner"
        )
        yield Finding("warning", WHAT, text, hint)
    lately = [
        one
        for one in event_type_faults(connection)
        if one.last_age_seconds is not None and one.last_age_seconds < DAY_SECONDS
    ]
    for one in lately[:MAX_SHOWN]:
        text = f'{one.type}: {one.faults} do not fit, the last by {one.keyword} at "{one.pointer}"'
        owner = f": {one.owner} owns it" if one.owner else ""
        yield Finding("warning", WHAT, text, f"correct who publishes it, or the schema{owner}")
    if not lately and (is_checked or not enforced):
        yield ok(WHAT, f"{types} are registered, and {enforced} enforced; what came lately fits")
