"""What was given up: listing it, looking into one, sending it again."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from relay.database import Connection, transaction
from relay.operate.not_found import NotFoundError
from relay.operate.table import printable, table

# Of a payload, which may be close to a megabyte.
MAX_SHOWN_BYTES = 16_384


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that one subscription gave up; times by the database's clock."""

    id: int
    subscription: str
    message_id: int
    priority: int
    channel: str
    type: str
    group_key: str | None
    idempotency_key: str
    reason: str
    detail: str
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None

    @property
    def state(self) -> str:
        """`dead`, `redriven` while it is on its way again, or `delivered`."""
        if self.delivered_at:
            return "delivered"
        return "redriven" if self.redriven_at else "dead"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; None: all. They died from `since` on and before `until`."""

    subscription: str | None = None
    reason: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What the message carries: headers as JSON, the payload's first bytes and its size."""

    headers: str | None
    content_type: str
    created_at: datetime
    start: bytes
    size: int


DEAD_LETTERS = """
    select dead_letter.id, subscription.name as subscription, message_id, priority, channel, type,
           group_key, idempotency_key, reason, detail, exhausted, attempts,
           died_at, redriven_at, delivered_at
    from outbox.dead_letter as dead_letter
    join outbox.subscription on subscription.id = dead_letter.subscription_id
    where delivered_at is null
      and (%(subscription)s::text is null or subscription.name = %(subscription)s)
      and (%(reason)s::text is null or reason = %(reason)s)
      and (%(type)s::text is null or type = %(type)s)
      and (%(since)s::timestamptz is null or died_at >= %(since)s)
      and (%(until)s::timestamptz is null or died_at < %(until)s)
    order by message_id, dead_letter.id
    limit %(limit)s
"""


def read(connection: Connection, meant: Filter, *, limit: int) -> list[DeadLetter]:
    """The dead letters that are not delivered yet, in the order in which they were published."""
    values = {**msgspec.structs.asdict(meant), "limit": limit}
    with transaction(connection), connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(DEAD_LETTERS, values).fetchall()


def render(dead_letters: Sequence[DeadLetter]) -> str:
    """The list for people."""
    if not dead_letters:
        return "no dead letters"
    return table(
        (
            "id",
            "state",
            "subscription",
            "channel",
            "type",
            "group key",
            "died",
            "reason",
            "exhausted",
            "detail",
        ),
        [
            (
                dead_letter.id,
                dead_letter.state,
                dead_letter.subscription,
                dead_letter.channel,
                dead_letter.type,
                dead_letter.group_key,
                dead_letter.died_at.isoformat(sep=" ", timespec="seconds"),
                dead_letter.reason,
                dead_letter.exhausted,
                dead_letter.detail,
            )
            for dead_letter in dead_letters
        ],
    )


DEAD_LETTER = """
    select dead_letter.id, subscription.name as subscription, message_id, priority, channel, type,
           group_key, idempotency_key, reason, detail, exhausted, attempts,
           died_at, redriven_at, delivered_at
    from outbox.dead_letter as dead_letter
    join outbox.subscription on subscription.id = dead_letter.subscription_id
    where dead_letter.id = %s
"""
CONTENT = """
    select headers, content_type, created_at,
           substring(payload from 1 for %s) as start, octet_length(payload) as size
    from outbox.dead_letter
    where id = %s
"""


def show(connection: Connection, dead_letter_id: int) -> str:
    """One dead letter with headers and payload. Raises NotFoundError where there is none."""
    with transaction(connection):
        with connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
            dead_letter = cursor.execute(DEAD_LETTER, (dead_letter_id,)).fetchone()
        with connection.cursor(row_factory=class_row(Content)) as contents:
            content = contents.execute(CONTENT, (MAX_SHOWN_BYTES, dead_letter_id)).fetchone()
    if dead_letter is None or content is None:
        raise NotFoundError(f"there is no dead letter {dead_letter_id}")
    lines = [
        f"{name:<16} {printable(str(value))}"
        for name, value in [
            *msgspec.structs.asdict(dead_letter).items(),
            ("state", dead_letter.state),
            ("created_at", content.created_at),
            ("headers", content.headers),
            ("content_type", content.content_type),
            ("payload", f"{content.size} bytes"),
        ]
        if value is not None
    ]
    text = content.start.decode(errors="backslashreplace")
    more = content.size - len(content.start)
    return "\n".join(
        [
            *lines,
            "",
            *map(printable, text.splitlines()),
            *([f"… {more} bytes more"] if more else []),
        ]
    )


UNKNOWN = """
    select wanted from unnest(%s::bigint[]) as wanted
    where not exists (select from outbox.dead_letter where id = wanted)
"""
REDRIVE = "select outbox.redrive(%s::bigint[])"
# Dead letters of endpoints go back under the locks of their cursors, once their runs have ended.
BOUNDS = """
    select set_config('lock_timeout', '15s', true), set_config('statement_timeout', '60s', true)
"""


def redrive(connection: Connection, dead_letter_ids: Sequence[int]) -> int:
    """Sends these dead letters again, to their own subscriptions only; says how many go.

    Those that are on their way or delivered are left alone. Raises NotFoundError where
    an id is no dead letter's, and then none goes; psycopg.errors.LockNotAvailable where a run does
    not end in 15 s.
    """
    ids = list(dead_letter_ids)
    with transaction(connection):
        connection.execute(BOUNDS)
        unknown = [wanted for (wanted,) in connection.execute(UNKNOWN, (ids,))]
        if unknown:
            named = ", ".join(map(str, unknown))
            raise NotFoundError(f"no such dead letter, and none was redriven: {named}")
        row = connection.execute(REDRIVE, (ids,)).fetchone()
    return int(row[0]) if row else 0


DEAD = """
    select message_id, dead_letter.id
    from outbox.dead_letter as dead_letter
    join outbox.subscription on subscription.id = dead_letter.subscription_id
    where redriven_at is null
      and subscription.name = %(subscription)s
      and (%(reason)s::text is null or reason = %(reason)s)
      and (%(type)s::text is null or type = %(type)s)
      and (%(since)s::timestamptz is null or died_at >= %(since)s)
      and (%(until)s::timestamptz is null or died_at < %(until)s)
      and (message_id, dead_letter.id) > (%(after_message_id)s, %(after_id)s)
    order by message_id, dead_letter.id
    limit %(batch)s
"""
BATCH = 5_000
SUBSCRIPTION = "select from outbox.subscription where name = %s"


def redrive_all(connection: Connection, meant: Filter) -> int:
    """Sends every dead letter that is meant again, of one subscription; says how many go.

    Raises NotFoundError for a subscription that does not exist, and
    psycopg.errors.LockNotAvailable where a run does not end in 15 s; batches that went are gone.

    In batches by message_id: what commits earlier was published earlier, so the order holds; and a
    message that dies again meanwhile is behind the last batch, so this ends.
    """
    with transaction(connection):
        known = connection.execute(SUBSCRIPTION, (meant.subscription,)).fetchone()
    if known is None:
        raise NotFoundError(f"there is no subscription {meant.subscription}")
    redriven, after = 0, (0, 0)
    while True:
        batch = {"after_message_id": after[0], "after_id": after[1], "batch": BATCH}
        with transaction(connection):
            connection.execute(BOUNDS)
            dead = connection.execute(DEAD, {**msgspec.structs.asdict(meant), **batch}).fetchall()
            row = connection.execute(REDRIVE, ([one for _, one in dead],)).fetchone()
        redriven += int(row[0]) if row else 0
        if len(dead) < BATCH:
            return redriven
        after = dead[-1]
