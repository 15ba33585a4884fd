"""What is written of outcomes that come after their run: of all subscriptions together."""

import random
from collections.abc import Sequence

import msgspec

from relay.database import Connection
from relay.log.session import set_local
from relay.push.item import Item
from relay.push.policy.settings import decode
from relay.push.policy.verdict import by_schedule
from relay.push.state import attempts, breaker
from relay.push.target import Target

# A relay that freezes in the middle gives back what it holds.
FROZEN_SECONDS = 15.0


class Late(msgspec.Struct, frozen=True):
    """An outcome that came after its run."""

    target: Target
    cursor_id: int
    item: Item


def write(connection: Connection, late: Sequence[Late], relay: str) -> list[Late]:
    """Writes outcomes to their own rows, and nothing else: the cursor's next holder finishes them.

    (One that deleted its row and promoted the next would orphan a follower that the holder inserts
    at the same moment.) In a transaction of its own, which waits for no other: those of which
    another session holds something are left as they were, and returned.
    """
    with connection.transaction():
        set_local(connection, f"outbox-relay {relay}", FROZEN_SECONDS)
        held = _held(connection, late)
        free = [one for one in late if one.item not in held]
        _go_by_new_schedules(connection, free)
        for one in free:
            breaker.judge_late(connection, one.target, one.item)
        attempts.write(connection, [(one.target, one.item) for one in free], relay)
        connection.execute(LATE, _columns(free))
    return [one for one in late if one.item in held]


HOLD_SUBSCRIPTIONS = "select outbox.hold_for_outcomes(%s::bigint[], %s::bigint[], %s::bigint[])"
# By token alone: where it is gone, the lease was over, and another relay is at it.
HELD_ROWS = """
with late as (
    select d.cursor_id, d.message_id
    from unnest(%(cursors)s::bigint[], %(messages)s::bigint[], %(tokens)s::bigint[])
         as late (cursor_id, message_id, token)
    join outbox.delivery d
      on d.cursor_id = late.cursor_id and d.message_id = late.message_id and d.token = late.token
),
free as materialized (
    select d.cursor_id, d.message_id
    from late join outbox.delivery d using (cursor_id, message_id)
    for no key update of d skip locked
)
select cursor_id, message_id from late
except
select cursor_id, message_id from free
"""


def _held(connection: Connection, late: Sequence[Late]) -> set[Item]:
    """Locks what these will change; returns those of which something is another session's.

    A writer that waited for one subscription's lock would keep the outcomes of all others until
    their leases are over, and their messages would be sent twice.
    """
    probed = {one.target.subscription_id for one in late if one.target.probing}
    gone = {one.target.subscription_id for one in late if breaker.is_gone(one.item)}
    failed = {
        one.target.subscription_id
        for one in late
        if attempts.is_answer_wanted(one.target, one.item)
    }
    taken = set[int]()
    if probed or gone or failed:
        wanted = (sorted(probed), sorted(gone), sorted(failed))
        row = connection.execute(HOLD_SUBSCRIPTIONS, wanted).fetchone()
        taken.update(row[0] if row else ())
    rows = {
        "cursors": [one.cursor_id for one in late],
        "messages": [one.item.message_id for one in late],
        "tokens": [one.item.token for one in late],
    }
    held = set(connection.execute(HELD_ROWS, rows).fetchall())
    return {
        one.item
        for one in late
        if one.target.subscription_id in taken or (one.cursor_id, one.item.message_id) in held
    }


# Where a change is still to be made at the row, it waits by the former schedule until then.
SETTINGS = """
select tried.cursor_id, tried.message_id, s.settings::text, s.kind
from unnest(%s::bigint[], %s::bigint[]) as tried (cursor_id, message_id)
join outbox.cursor c on c.id = tried.cursor_id
join outbox.subscription s on s.id = c.subscription_id
where not exists (select from outbox.rescheduling r
                  where r.cursor_id = tried.cursor_id and r.done_id < tried.message_id)
"""


def _go_by_new_schedules(connection: Connection, late: Sequence[Late]) -> None:
    """What is tried again waits as its subscription says by now.

    What was in flight when a change was made was no row that outbox.reschedule could change.
    """
    tried = {(one.cursor_id, one.item.message_id): one for one in late if _is_tried_again(one)}
    if not tried:
        return
    cursors, messages = ([*ids] for ids in zip(*tried, strict=True))
    for cursor_id, message_id, settings, kind in connection.execute(SETTINGS, (cursors, messages)):
        one, endpoint = tried[cursor_id, message_id], decode(settings, kind)
        verdict = one.item.verdict
        if endpoint.retry != one.target.endpoint.retry and verdict is not None:
            one.item.verdict = by_schedule(
                endpoint, one.item.attempts, random.random, asked_seconds=verdict.asked_seconds
            )


def _is_tried_again(one: Late) -> bool:
    """By its schedule, and not as a breaker's probe without an answer."""
    verdict = one.item.verdict
    return verdict is not None and verdict.kind == "retry" and verdict.attempts > one.item.attempts


LATE = """
update outbox.delivery d
set attempts = late.attempts, token = null, outcome = late.outcome, reason = late.reason,
    detail = late.detail, due_at = clock_timestamp() + make_interval(secs => late.seconds)
from unnest(%(cursors)s::bigint[], %(messages)s::bigint[], %(tokens)s::bigint[],
            %(attempts)s::integer[], %(outcomes)s::text[], %(seconds)s::float8[],
            %(reasons)s::text[], %(details)s::text[])
     as late (cursor_id, message_id, token, attempts, outcome, seconds, reason, detail)
where d.cursor_id = late.cursor_id and d.message_id = late.message_id and d.token = late.token
"""
OUTCOMES = {"acked": "acked", "dead": "dead"}


def _columns(late: Sequence[Late]) -> dict[str, object]:
    items = [one.item for one in late]
    answers = [item.answer for item in items if item.answer is not None]
    verdicts = [item.verdict for item in items if item.verdict is not None]
    return {
        "cursors": [one.cursor_id for one in late],
        "messages": [item.message_id for item in items],
        "tokens": [item.token for item in items],
        "attempts": [one.attempts for one in verdicts],
        "outcomes": [OUTCOMES.get(one.kind) for one in verdicts],
        "seconds": [one.delay_seconds or 0.0 for one in verdicts],
        "reasons": [answer.error for answer in answers],
        "details": [answer.detail for answer in answers],
    }
