"""The log of attempts: one COPY a run, and never an update."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from relay.database import Connection
from relay.log.message import CREATED_AT, IDEMPOTENCY_KEY, POSTGRES_EPOCH_SECONDS
from relay.monitoring.telemetry import Telemetry
from relay.push.fair_turns import Owner
from relay.push.item import Item
from relay.push.state.attempt_rows import Acknowledged, in_rows, together
from relay.push.target import Target

Made = tuple[Target, Item]

# Binary, with the types said: three times as fast as an INSERT of as many rows.
COPY = """
copy outbox.attempt_log
    (subscription_id, message_id, last_message_id, at, next_at, duration_seconds, number, status,
     idempotency_key, relay, error, detail, answer,
     more_messages, more_at, more_durations, more_keys)
from stdin (format binary)
"""
TYPES = (
    *("int8", "int8", "int8", "timestamptz", "timestamptz", "float4", "int4", "int2"),
    *("text", "text", "text", "text", "bytea"),
    # The arrays come encoded.
    *("bytea", "bytea", "bytea", "bytea"),
)


def write(connection: Connection, made: Sequence[Made], relay: str) -> None:
    """Logs those that their subscription wants logged, in the transaction that is under way."""
    logged = [(target, item) for target, item in made if _is_logged(target, item)]
    if not logged:
        return
    room = _room(connection, logged)
    alike: dict[tuple[int, int | None], list[Acknowledged]] = defaultdict(list)
    with connection.cursor().copy(COPY) as copy:
        copy.set_types(TYPES)
        for target, item in logged:
            answer, row = item.answer, item.row
            assert answer is not None
            assert row is not None
            if item in room.left_out:
                continue
            if answer.error is None and not item.attempts:
                at, key = target.clock + item.sent_at, row[IDEMPOTENCY_KEY]
                alike[target.subscription_id, answer.status].append(
                    (item.message_id, at, answer.seconds, key)
                )
            else:
                copy.write_row(_alone(target, item, relay, kept=item in room.kept))
        for (subscription_id, status), acknowledged in alike.items():
            for some in in_rows(acknowledged):
                copy.write_row(together(subscription_id, status, some, relay))


TAKE = "select outbox.take_answer_budget(%s, %s::integer[])"
NOT_KEPT = (
    "not kept: the day's 10 MiB of failed answers, or its API key's 1 MB at once, are used up"
)
# Of what is written in one transaction, so much is an API key's, however many endpoints it has
# made: others may wait for the end of it.
KEY_BYTES = 1_000_000
# What the row of a failed attempt takes, with its entries in indexes. Rows of limited keys count:
# one whose endpoints refuse everything, a hundred times each, would have them by the ten million.
ROW_BYTES = 400


class Room(NamedTuple):
    """Failed attempts: those whose answers are kept, and those that are not logged at all."""

    kept: set[Item]
    left_out: set[Item]


def _room(connection: Connection, logged: Iterable[Made]) -> Room:
    """By what is left of the day's budgets, from which of limited keys the rows are taken as well.

    In the order of their ids, since another relay may hold some of the budgets until it commits.
    """
    failed: dict[int, list[tuple[Item, int]]] = defaultdict(list)
    of_key: Counter[Owner] = Counter()
    limited, unkept = set[Item](), set[Item]()
    for target, item in logged:
        if item.answer is None or item.answer.error is None:
            continue
        size = len(item.answer.body) + len(item.answer.detail.encode())
        if target.owner is not None:
            of_key[target.owner] += size
            if of_key[target.owner] > KEY_BYTES:
                unkept.add(item)
                size = 0
            limited.add(item)
            size += ROW_BYTES
        failed[target.subscription_id].append((item, size))
    if not failed:
        return Room(set(), set())
    with connection.pipeline():
        taken = [
            (some, connection.execute(TAKE, (subscription_id, [size for _, size in some])))
            for subscription_id, some in sorted(failed.items())
        ]
    fits = set[Item]()
    for some, found in taken:
        row = found.fetchone()
        fits.update(item for item, _ in some[: row[0] if row else 0])
    return Room(fits - unkept, limited - fits)


def is_answer_wanted(target: Target, item: Item) -> bool:
    """Whether its answer is kept where the day's budget takes it."""
    failed = item.answer is not None and item.answer.error is not None
    return failed and _is_logged(target, item)


def _alone(target: Target, item: Item, relay: str, *, kept: bool) -> tuple[object, ...]:
    answer, verdict, row = item.answer, item.verdict, item.row
    assert answer is not None
    assert verdict is not None
    assert row is not None
    # What used none up, as a breaker's probe without an answer, waits for the next probe.
    again = verdict.kind == "retry" and verdict.attempts > item.attempts
    failed = answer.error is not None
    at = target.clock + item.sent_at
    next_at = at + answer.seconds + (verdict.delay_seconds or 0.0)
    return (
        target.subscription_id,
        item.message_id,
        None,
        datetime.fromtimestamp(at, UTC),
        datetime.fromtimestamp(next_at, UTC) if again else None,
        answer.seconds,
        item.attempts + 1,
        answer.status,
        row[IDEMPOTENCY_KEY].decode(),
        relay,
        answer.error,
        (answer.detail if kept else NOT_KEPT) if failed else None,
        answer.body if kept else None,
        *(None, None, None, None),
    )


def count(telemetry: Telemetry, made: Iterable[Made]) -> None:
    """Adds them and their lag to the metrics; each once, with its run or when it comes late."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, list[float]] = defaultdict(list)
    lags: dict[str, list[float]] = defaultdict(list)
    for target, item in made:
        if item.answer is not None and item.sent_at:
            outcomes[target.subscription][item.answer.error or "acked"] += 1
            seconds[target.subscription].append(item.answer.seconds)
            if item.answer.error is None and item.row is not None:
                written_at = POSTGRES_EPOCH_SECONDS + item.row[CREATED_AT] / 1_000_000
                acknowledged_at = target.clock + item.sent_at + item.answer.seconds
                lags[target.subscription].append(acknowledged_at - written_at)
    for subscription, counted in outcomes.items():
        telemetry.attempts(subscription, counted, seconds[subscription], lags[subscription])


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
