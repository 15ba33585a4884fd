"""Dead letters of inward connectors, for operators: records and messages that could not enter."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from relay.database import Connection, transaction
from relay.operate.dead_letters import MAX_SHOWN_BYTES
from relay.operate.not_found import NotFoundError
from relay.operate.source import find
from relay.operate.table import printable, table
from relay.sources.redrive import redrive as try_again
from relay.sources.source import BY_ID, Source


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not enter: of a topic by partition and offset, of a queue by its id.

    `due`: a relay is to try it again.
    """

    id: int
    topic: str
    partition: int | None
    record_offset: int | None
    message_id: str | None
    reason: str
    detail: str
    bytes: int
    due: bool
    died_at: datetime

    @property
    def place(self) -> str:
        """Where it was."""
        return self.message_id or f"{self.partition}:{self.record_offset}"


class Content(msgspec.Struct, frozen=True):
    """What it holds: its value's first bytes."""

    key: bytes | None
    header_names: list[str]
    header_values: list[bytes | None]
    start: bytes | None


LETTERS = """
    select id, topic, partition, record_offset, message_id, reason, detail, due, died_at,
           coalesce(octet_length(value), 0) as bytes
    from outbox.source_dead_letter
    where source_id = %(source)s and (%(id)s::bigint is null or id = %(id)s)
    order by id limit %(limit)s
"""


def read(connection: Connection, name: str, *, limit: int) -> list[DeadLetter]:
    """The dead letters of a connector, the oldest first. Raises NotFoundError."""
    with transaction(connection):
        return _dead_letters(
            connection, {"source": find(connection, name), "id": None, "limit": limit}
        )


def _dead_letters(connection: Connection, values: dict[str, object]) -> list[DeadLetter]:
    with connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(LETTERS, values).fetchall()


def render(found: Sequence[DeadLetter]) -> str:
    """The list for people."""
    if not found:
        return "no dead letters"
    return table(
        ("id", "from", "place", "bytes", "reason", "died", "", ""),
        [
            (
                one.id,
                one.topic,
                one.place,
                one.bytes,
                one.reason,
                one.died_at.isoformat(sep=" ", timespec="seconds"),
                "due" if one.due else "",
                one.detail,
            )
            for one in found
        ],
    )


CONTENT = """
    select key, header_names, header_values, substring(value from 1 for %s) as start
    from outbox.source_dead_letter where id = %s
"""


def show(connection: Connection, name: str, letter_id: int) -> str:
    """One with its key, headers and value. Raises NotFoundError where there is none."""
    with transaction(connection):
        source_id = find(connection, name)
        found = _dead_letters(connection, {"source": source_id, "id": letter_id, "limit": 1})
        with connection.cursor(row_factory=class_row(Content)) as cursor:
            content = cursor.execute(CONTENT, (MAX_SHOWN_BYTES, letter_id)).fetchone()
    if not found or content is None:
        raise NotFoundError(f"{name} has no dead letter {letter_id}")
    [letter] = found
    headers = zip(content.header_names, content.header_values, strict=True)
    named = [
        *msgspec.structs.asdict(letter).items(),
        ("key", _text(content.key)),
        *((f"header {header}", _text(value)) for header, value in headers),
    ]
    lines = [f"{what:<16} {printable(str(value))}" for what, value in named if value is not None]
    start = content.start or b""
    more = letter.bytes - len(start)
    shown = map(printable, start.decode(errors="backslashreplace").splitlines())
    return "\n".join([*lines, "", *shown, *([f"… {more} bytes more"] if more else [])])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


UNKNOWN = """
    select wanted from unnest(%s::bigint[]) as wanted
    where not exists (select from outbox.source_dead_letter
                      where id = wanted and source_id = %s)
"""


def redrive(connection: Connection, name: str, ids: Sequence[int] | None) -> tuple[int, int]:
    """Tries these again, or all: how many entered, and how many are still none.

    Raises NotFoundError where there is no such connector or dead letter, and then none was tried.
    """
    with transaction(connection):
        source_id = find(connection, name)
        _demand_known(connection, source_id, ids)
        with connection.cursor(row_factory=class_row(Source)) as cursor:
            source = cursor.execute(BY_ID, (source_id,)).fetchone()
    assert source is not None
    return try_again(connection, source, ids)


def _demand_known(connection: Connection, source_id: int, ids: Sequence[int] | None) -> None:
    unknown = connection.execute(UNKNOWN, (list(ids or ()), source_id)).fetchall()
    if unknown:
        named = ", ".join(str(one) for (one,) in unknown)
        raise NotFoundError(f"no such dead letter of it, and nothing was done: {named}")


DISCARD = "select outbox.discard_source_dead_letters(%(source)s::bigint, %(ids)s::bigint[])"


def discard(connection: Connection, name: str, ids: Sequence[int] | None) -> int:
    """Forgets these dead letters, or all. Returns how many. Raises as `redrive`."""
    with transaction(connection):
        source_id = find(connection, name)
        _demand_known(connection, source_id, ids)
        row = connection.execute(DISCARD, {"source": source_id, "ids": ids}).fetchone()
        return row[0] if row else 0
