"""Where a message is: what became of it at each subscription, and how that is known."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row, dict_row

from relay.database import Connection, transaction
from relay.operate.not_found import NotFoundError
from relay.operate.table import printable


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """By which run the cursor passed it.

    Between two checkpoints; only `checkpoint` and `at` where those before are trimmed. `merged_at`:
    by a cursor of its channel alone that is merged since.
    """

    cursor: int
    at: datetime
    after_checkpoint: int | None = None
    after_at: datetime | None = None
    checkpoint: int | None = None
    relay: str | None = None
    merged_at: datetime | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The message for which its group waits; `tried_since` is its first attempt."""

    message_id: int
    state: str
    attempts: int
    due_at: datetime | None
    reason: str | None
    tried_since: datetime | None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Behind what it waits at its cursor: `ahead` messages in the log, `ahead_in_group` in rows.

    At least so many where `more`. `checkpoint` is the latest one, of `at` and by `relay`.
    """

    cursor: int
    priority: int
    shard: int
    channel: str | None
    checkpoint: int
    at: datetime
    relay: str | None
    ahead: int | None
    ahead_in_group: int | None
    more: bool
    head: Head | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Its dead letter, whatever became of that."""

    id: int
    reason: str
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request; without `error` it was acknowledged."""

    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    relay: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it at one subscription; outbox.trace says what each state means."""

    subscription: str
    kind: str
    state: str
    since: datetime | None
    because: str | None
    next_attempt_at: datetime | None
    passed: Passed | None
    queue: Queue | None
    dead_letter: DeadLetter | None
    attempts: list[Attempt] | None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What the log knows of it: `in_log`, or `gone` where retention has taken it.

    `xid` is the transaction that wrote it; None after a rebase.
    """

    state: str
    xid: str | None
    priority: int | None
    channel: str | None
    type: str | None
    group_key: str | None
    idempotency_key: str | None
    created_at: datetime | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One message, and where it is."""

    id: int
    message: Message
    subscriptions: list[Place]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for besides an id: a key or a group, in a channel, in a span of time."""

    idempotency_key: str | None = None
    group_key: str | None = None
    channel: str | None = None
    since: datetime | None = None
    until: datetime | None = None


# A span of the log is walked whose pages may be cold.
BOUNDS = "select set_config('statement_timeout', '60s', true)"
MESSAGE = """
    select state, xid::text as xid, priority, channel, type, group_key, idempotency_key, created_at
    from outbox.trace_message(%s)
"""
PLACES = """
    select subscription, kind, state, since, because, next_attempt_at, passed, queue, dead_letter,
           attempts
    from outbox.trace(%s)
"""


def read(connection: Connection, message_id: int) -> Trace:
    """Where one message is. Raises NotFoundError where there never was one with this id."""
    with transaction(connection):
        connection.execute(BOUNDS)
        with connection.cursor(row_factory=class_row(Message)) as messages:
            message = messages.execute(MESSAGE, (message_id,)).fetchone()
        with connection.cursor(row_factory=dict_row) as places:
            found = places.execute(PLACES, (message_id,)).fetchall()
    assert message is not None, "outbox.trace_message returns one row"
    if message.state == "undrawn":
        raise NotFoundError(f"there is no message {message_id}: no id so high was drawn yet")
    if message.state == "uncommitted":
        raise NotFoundError(
            f"there is no message {message_id}: the transaction that drew this id rolled back, or "
            "is not over"
        )
    return Trace(id=message_id, message=message, subscriptions=msgspec.convert(found, list[Place]))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the latest ones, among so many that were `looked` at; `more` were in the span."""

    message_ids: list[int]
    looked: int
    looked_from: datetime | None
    more: bool


FIND = """
    select message_ids, looked, looked_from, more
    from outbox.find_messages(%(idempotency_key)s, %(group_key)s, %(channel)s, %(since)s, %(until)s)
"""


def find(connection: Connection, wanted: Wanted) -> list[int]:
    """The latest messages with a key or of a group, ten at most. Raises NotFoundError for none."""
    with transaction(connection):
        connection.execute(BOUNDS)
        with connection.cursor(row_factory=class_row(Found)) as cursor:
            found = cursor.execute(FIND, msgspec.structs.asdict(wanted)).fetchone()
    assert found is not None, "outbox.find_messages returns one row"
    if not found.message_ids:
        raise NotFoundError(_not_found(wanted, found))
    return found.message_ids


def _not_found(wanted: Wanted, found: Found) -> str:
    what = (
        f"of group {wanted.group_key}"
        if wanted.idempotency_key is None
        else f"with the idempotency key {wanted.idempotency_key}"
    )
    where = "" if wanted.channel is None else f" of channel {wanted.channel}"
    if found.looked_from is None:
        return f"no message {what}: the log has none there"
    looked = f"the {found.looked} messages{' of the span' if not found.more else ''}"
    sentence = f"no message {what}{where} is among {looked} since {_at(found.looked_from)}"
    if found.more:
        sentence += "; there are more: name a shorter span by --since and --until"
    return sentence


def render(traces: Sequence[Trace]) -> str:
    """For people: each message, and under it its subscriptions."""
    return "\n\n".join("\n".join(_lines(trace)) for trace in traces)


def _lines(trace: Trace) -> Iterator[str]:
    message = trace.message
    if message.channel is None:
        yield f"message {trace.id}"
    else:
        group = "" if message.group_key is None else f", group {printable(message.group_key)}"
        yield (
            f"message {trace.id}: {printable(message.type or '')} on {message.channel}{group}, "
            f"priority {message.priority}"
        )
        by = "" if message.xid is None else f" by transaction {message.xid}"
        yield f"  published {_at(message.created_at)}{by}, idempotency key " + (
            message.idempotency_key or ""
        )
    if message.state == "gone":
        yield "  the log no longer has it: retention took it when every cursor had passed it"
    for place in trace.subscriptions:
        yield f"{place.subscription} ({place.kind}): {_said(place)}"
        yield from (f"  {line}" for line in _evidence(place))


# What a state's `since` is the time of; of all others it says nothing new.
SINCE = {"delivered", "dead_letter", "dropped", "redriven", "breaker_open", "channel_waiting"}


def _said(place: Place) -> str:
    words = place.state.replace("_", " ")
    if place.state == "passed":
        words = "passed, by a filter or a replay that is not known any more"
    if place.state in SINCE and place.since is not None:
        since = " since" if place.state in ("breaker_open", "channel_waiting") else ""
        words += f"{since} {_at(place.since)}"
    if place.next_attempt_at is not None:
        words += f", next attempt {_at(place.next_attempt_at)}"
    if place.because is not None:
        by = " by its" if place.state == "not_wanted" else ":"
        words += f"{by} {printable(place.because)}"
    return words


def _evidence(place: Place) -> Iterator[str]:
    if place.passed is not None:
        yield _passed(place.passed)
    if place.queue is not None:
        yield from _queue(place.queue)
    if (letter := place.dead_letter) is not None:
        yield f"dead letter {letter.id}: {letter.reason} {_at(letter.died_at)}" + "".join(
            f", {what} {_at(at)}"
            for what, at in (("redriven", letter.redriven_at), ("delivered", letter.delivered_at))
            if at is not None
        )
    for one in place.attempts or ():
        answer = "no answer" if one.status is None else f"status {one.status}"
        error = "" if one.error is None else f", {one.error}"
        yield (
            f"attempt {one.number} {_at(one.at)}: {answer}{error}, {one.duration_seconds:.3f} s, "
            f"by {one.relay}"
        )


def _passed(passed: Passed) -> str:
    if passed.merged_at is not None:
        return (
            f"by a cursor of its channel alone, between {_at(passed.after_at)} and "
            f"{_at(passed.merged_at)}, when cursor {passed.cursor} took the channel back"
        )
    if passed.after_checkpoint is None:
        return (
            f"cursor {passed.cursor} had passed it by checkpoint {passed.checkpoint} "
            f"{_at(passed.at)}, the oldest that is kept"
        )
    by = "" if passed.relay is None else f", in a run of {passed.relay}"
    return (
        f"cursor {passed.cursor} passed it between checkpoint {passed.after_checkpoint} "
        f"{_at(passed.after_at)} and {passed.checkpoint} {_at(passed.at)}{by}"
    )


def _queue(queue: Queue) -> Iterator[str]:
    more = "+" if queue.more else ""
    if queue.ahead is not None:
        yield f"{queue.ahead}{more} before it in the log, of cursor {queue.cursor}"
    if (head := queue.head) is not None:
        tried = "never tried"
        if head.attempts:
            tried = f"tried {head.attempts} time{'s' if head.attempts > 1 else ''}"
        if head.tried_since is not None:
            tried += f" since {_at(head.tried_since)}"
        reason = "" if head.reason is None else f": {printable(head.reason)}"
        due = "" if head.due_at is None else f", next attempt {_at(head.due_at)}"
        yield (
            f"{queue.ahead_in_group}{more} of its group before it, the head is message "
            f"{head.message_id}: {head.state.replace('_', ' ')}, {tried}{reason}{due}"
        )
    by = "" if queue.relay is None else f", by {queue.relay}"
    yield f"latest checkpoint of cursor {queue.cursor}: {queue.checkpoint} {_at(queue.at)}{by}"


def _at(time: datetime | None) -> str:
    if time is None:
        return ""
    return time.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
