"""Attempts that went alike: up to 32 of them share a row of outbox.attempt_log."""

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

# What a row of outbox.attempt_log takes: so many attempts, whose messages' ids and whose times are
# no further apart, and whose keys leave it below the 2 KB beyond which Postgres moves parts of a
# row to a table of their own.
MOST_IN_ROW: Final = 32
MOST_IDS_APART: Final = 999
MOST_SECONDS_APART: Final = 1800.0
MOST_KEY_BYTES: Final = 1300

# A first attempt that succeeded: its message's id, when it began in seconds since 1970, how many
# seconds it took, and the message's key.
Acknowledged = tuple[int, float, float, bytes]


def in_rows(acknowledged: list[Acknowledged]) -> Iterator[list[Acknowledged]]:
    """By the ids of their messages, as many together as a row takes; sorts them."""
    acknowledged.sort()
    begin = 0
    while begin < len(acknowledged):
        some = acknowledged[begin : begin + MOST_IN_ROW]
        while not _fit(some):
            some = some[: len(some) // 2]
        yield some
        begin += len(some)


def _fit(some: Sequence[Acknowledged]) -> bool:
    if len(some) == 1:
        return True
    ids, times, _, keys = zip(*some, strict=True)
    return (
        ids[-1] - ids[0] <= MOST_IDS_APART
        and max(times) - min(times) <= MOST_SECONDS_APART
        and sum(map(len, keys)) <= MOST_KEY_BYTES
    )


def together(
    subscription_id: int, status: int | None, some: Sequence[Acknowledged], relay: str
) -> tuple[object, ...]:
    """The columns of a row that holds these, as attempts.COPY names them."""
    message_id, at, seconds, key = some[0]
    return (
        subscription_id,
        message_id,
        some[-1][0] if len(some) > 1 else None,
        datetime.fromtimestamp(at, UTC),
        None,
        seconds,
        1,
        status,
        key.decode(),
        relay,
        *(None, None, None),
        *(_further(some) if len(some) > 1 else (None, None, None, None)),
    )


# Of Postgres' own types, which have the same numbers everywhere, and their binary formats.
SMALLINT, INTEGER, REAL, TEXT = (21, "h", 2), (23, "i", 4), (700, "f", 4), 25


def _further(some: Sequence[Acknowledged]) -> tuple[bytes, ...]:
    ids, times, seconds, keys = zip(*some, strict=True)
    first_id, first_at = ids[0], times[0]
    return (
        _array(SMALLINT, [id - first_id for id in ids[1:]]),
        _array(INTEGER, [int((at - first_at) * 1e6) for at in times[1:]]),
        _array(REAL, seconds[1:]),
        _text_array(keys[1:]),
    )


def _array(type: tuple[int, str, int], values: Sequence[float]) -> bytes:
    """As Postgres sends one: its dimensions, then each value with its length before it."""
    number, code, length = type
    lengths_and_values: list[float] = [length] * (2 * len(values))
    lengths_and_values[1::2] = values
    return struct.pack(
        f">5i{('i' + code) * len(values)}", 1, 0, number, len(values), 1, *lengths_and_values
    )


def _text_array(values: Sequence[bytes]) -> bytes:
    lengths_and_values = b"".join([len(one).to_bytes(4, "big") + one for one in values])
    return struct.pack(">5i", 1, 0, TEXT, len(values), 1) + lengths_and_values
