"""What a Kafka transaction notes of its run, so that the cursor is committed with the messages.

The note is sealed: whoever keeps the cluster, or may write its groups' offsets, could else have a
relay write down what never was, as that messages of others are dead letters of this subscription.
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from relay.log.position import Delta, Position
from relay.log.sink import Dead

# A broker takes 4,096 bytes by default (offset.metadata.max.bytes), this short of them in any case.
MAX_CHARACTERS = 4000
# What MAX_NOTED dead letters take of them, whose reasons mostly are one.
DEAD_CHARACTERS = 1000

# Snapshots whose text is no longer than this always fit.
SMALL_CHARACTERS = 2000

# Message ids by their reason.
DeadLetters = tuple[tuple[str, tuple[int, ...]], ...]


class Record(msgspec.Struct, frozen=True):
    """A run as Kafka holds it: checkpoint `parent_n` + 1, and the one that it follows.

    `position` is None where the run sent `redriven` dead letters, by message id, and the cursor
    stays where its parent stands. `dead` are the messages that the run gave up between those that
    it sent.
    """

    timeline: str
    parent_n: int
    parent_token: int
    token: int
    messages: int
    bytes: int
    position: Position | None
    redriven: tuple[int, ...] = ()
    # The last message of the run, and when it was written.
    last_id: int = 0
    last_at: int = 0
    dead: DeadLetters = ()

    @property
    def n(self) -> int:
        """The number of its own checkpoint."""
        return self.parent_n + 1


class Unreadable(ValueError):
    """The metadata of the cursor's offset is not what a relay of this database writes."""


# Of HMAC with SHA-256.
SEAL_BYTES = 16

# As it travels: snapshots are packed, everything else is msgpack.
_Snapshot = bytes


class _Packed(msgspec.Struct, array_like=True):
    timeline: str
    parent_n: int
    parent_token: int
    token: int
    messages: int
    bytes: int
    position: tuple[_Snapshot, _Snapshot, int, int, int] | _Snapshot | None
    redriven: tuple[int, ...]
    last_id: int
    last_at: int
    # Each id as its distance from the one before.
    dead: DeadLetters = ()


_decoder = msgspec.msgpack.Decoder(_Packed)


def encode(record: Record, key: bytes) -> str:
    """The record as text, sealed by `key`; above MAX_CHARACTERS a broker may refuse it."""
    position = record.position
    packed: Any = None
    if position is not None:
        packed = pack(position.seen)
        if (delta := position.delta) is not None:
            packed = (packed, pack(delta.target), delta.after_id, delta.fresh_id, delta.upto_id)
    dead = [(reason, _distances(ids)) for reason, ids in record.dead]
    fields = {**msgspec.structs.asdict(record), "position": packed, "dead": tuple(dead)}
    # Two snapshots mostly share their long transactions, which compression finds.
    packed = zlib.compress(msgspec.msgpack.encode(_Packed(**fields)))
    return base64.b85encode(packed + _seal(packed, key)).decode()


def decode(text: str, key: bytes) -> Record:
    """Raises Unreadable, also where another key sealed it."""
    try:
        written = base64.b85decode(text)
        data, seal = written[:-SEAL_BYTES], written[-SEAL_BYTES:]
        if not hmac.compare_digest(seal, _seal(data, key)):
            raise Unreadable("this database has not written it")
        unzip = zlib.decompressobj()
        packed = _decoder.decode(unzip.decompress(data, 1_000_000))
        if not unzip.eof:
            raise Unreadable("its end is missing")
    except (ValueError, zlib.error, msgspec.DecodeError) as wrong:
        raise Unreadable(str(wrong)) from wrong
    position: Position | None = None
    if isinstance(packed.position, _Snapshot):
        position = Position(unpack(packed.position))
    elif packed.position is not None:
        seen, target, *ids = packed.position
        position = Position(unpack(seen), Delta(unpack(target), *ids))
    dead = tuple((reason, tuple(accumulate(ids))) for reason, ids in packed.dead)
    return Record(**{**msgspec.structs.asdict(packed), "position": position, "dead": dead})


def _seal(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)[:SEAL_BYTES]


def fits(position: Position) -> bool:
    """Whether a record fits that stands there, whatever else it says."""
    delta = position.delta
    if delta is None or len(position.seen) + len(delta.target) <= SMALL_CHARACTERS:
        return True
    largest = 2**63 - 1
    longest = Position(position.seen, Delta(delta.target, largest, largest, largest))
    record = Record("F" * 8, largest, largest, largest, largest, largest, longest)
    return len(encode(record, b"")) + DEAD_CHARACTERS <= MAX_CHARACTERS


def noted(dead: Sequence[Dead]) -> DeadLetters:
    """The dead letters of a run as its record has them: without their details."""
    reasons = dict.fromkeys(one.reason for one in dead)
    return tuple(
        (reason, tuple(one.message_id for one in dead if one.reason == reason))
        for reason in reasons
    )


def restored(dead: DeadLetters) -> list[Dead]:
    """The dead letters of a run that was in doubt."""
    detail = "the run that gave it up was in doubt, and noted no more of it"
    return [Dead(one, reason, detail) for reason, ids in dead for one in ids]


def _distances(ids: tuple[int, ...]) -> tuple[int, ...]:
    return (*ids[:1], *(after - before for before, after in pairwise(ids)))


def pack(snapshot: str) -> bytes:
    """A pg_snapshot as Postgres writes it, `xmin:xmax:xip,xip`, in about a byte a transaction.

    Each number is its distance from the one before, in groups of seven bits, lowest first.
    """
    xmin, xmax, xip = snapshot.split(":")
    packed = bytearray()
    before = 0
    for number in (int(xmin), int(xmax)):
        _append(packed, number - before)
        before = number
    before = int(xmin)
    for number in map(int, xip.split(",")) if xip else ():
        _append(packed, number - before)
        before = number
    return bytes(packed)


def unpack(packed: bytes) -> str:
    """The pg_snapshot of `pack`. Raises Unreadable."""
    distances = []
    number = shift = 0
    for byte in packed:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            distances.append(number)
            number = shift = 0
    if len(distances) < 2 or shift:
        raise Unreadable("a snapshot is cut off")
    xmin, width, *rest = distances
    in_progress = []
    before = xmin
    for distance in rest:
        before += distance
        in_progress.append(str(before))
    return f"{xmin}:{xmin + width}:{','.join(in_progress)}"


def _append(packed: bytearray, number: int) -> None:
    while number > 127:
        packed.append(number & 127 | 128)
        number >>= 7
    packed.append(number)
