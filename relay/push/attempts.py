"""The log of attempts: one statement a run, and never an update."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from relay.database import Connection
from relay.push.flight import Target
from relay.push.item import Item
from relay.telemetry import Telemetry

Made = tuple[Target, Item]

# The times are the database's: how long ago by a clock that only measures durations.
WRITE = """
insert into outbox.attempt
    (subscription_id, message_id, idempotency_key, number, at, duration_seconds, status, error,
     detail, next_at, answer, relay)
select subscription_id, message_id, idempotency_key, number,
       clock_timestamp() - make_interval(secs => age_seconds), duration_seconds, status, error,
       detail, clock_timestamp() + make_interval(secs => next_seconds), answer, %(relay)s
from unnest(%(subscriptions)s::bigint[], %(messages)s::bigint[], %(keys)s::text[],
            %(numbers)s::integer[], %(ages)s::float8[], %(durations)s::float8[],
            %(statuses)s::smallint[], %(errors)s::text[], %(details)s::text[],
            %(nexts)s::float8[], %(answers)s::bytea[])
     as made (subscription_id, message_id, idempotency_key, number, age_seconds, duration_seconds,
              status, error, detail, next_seconds, answer)
"""


def write(connection: Connection, made: Sequence[Made], relay: str) -> None:
    """Logs those that their subscription wants logged, in the transaction that is under way."""
    now = time.monotonic()
    logged = [(target, item) for target, item in made if _is_logged(target, item)]
    if not logged:
        return
    items = [item for _, item in logged]
    answers = [item.answer for item in items if item.answer is not None]
    verdicts = [item.verdict for item in items if item.verdict is not None]
    connection.execute(
        WRITE,
        {
            "relay": relay,
            "subscriptions": [target.subscription_id for target, _ in logged],
            "messages": [item.message_id for item in items],
            "keys": [item.row[4].decode() for item in items if item.row is not None],
            "numbers": [item.attempts + 1 for item in items],
            "ages": [now - item.sent_at for item in items],
            "durations": [answer.seconds for answer in answers],
            "statuses": [answer.status for answer in answers],
            "errors": [answer.error for answer in answers],
            "details": [answer.detail if answer.error else None for answer in answers],
            "nexts": [one.delay_seconds if one.kind == "retry" else None for one in verdicts],
            "answers": [answer.body if answer.error else None for answer in answers],
        },
    )


def count(telemetry: Telemetry, made: Iterable[Made]) -> None:
    """Adds them to the metrics."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, list[float]] = defaultdict(list)
    for target, item in made:
        if item.answer is not None and item.sent_at:
            outcomes[target.subscription][item.answer.error or "acked"] += 1
            seconds[target.subscription].append(item.answer.seconds)
    for subscription, counted in outcomes.items():
        telemetry.attempts(subscription, counted, seconds[subscription])


def _is_logged(target: Target, item: Item) -> bool:
    if item.answer is None or not item.sent_at:
        return False
    match target.endpoint.attempts_log:
        case "all":
            return True
        case "failures":
            return item.answer.error is not None
        case "none":
            return False
