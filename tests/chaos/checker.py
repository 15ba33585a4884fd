"""What was promised of one subscription, held against what its topics and its dead letters show.

Pure: what committed, what arrived and what was given up come in; what is broken comes out.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_EXAMPLES = 5

LOST = "lost"
DISORDERED = "out of order"
REPEATED = "repeated to read_committed"
UNCOMMITTED = "rolled back, seen"
FOREIGN = "not its own, seen"
ALTERED = "altered"
UNKEYED = "without its idempotency key"
MISSING_DEAD_LETTER = "missing dead letter"
UNEXPECTED_DEAD_LETTER = "unexpected dead letter"
TWICE_DEAD = "dead letter twice"
DEAD_AND_DELIVERED = "dead letter, and delivered"
PROMISES = (
    LOST,
    DISORDERED,
    REPEATED,
    UNCOMMITTED,
    FOREIGN,
    ALTERED,
    UNKEYED,
    MISSING_DEAD_LETTER,
    UNEXPECTED_DEAD_LETTER,
    TWICE_DEAD,
    DEAD_AND_DELIVERED,
)


class Committed(NamedTuple):
    """A message of the log. `id` orders its group; `oversize`: no topic of its channel takes it;
    `xid`: of the transaction that wrote it."""

    id: int
    channel: str
    type: str
    xid: int
    priority: int
    group_key: bytes | None
    checksum: int
    oversize: bool


class Arrival(NamedTuple):
    """A record of a topic; `idempotency_key` is None where its headers hold none, or several."""

    channel: str
    partition: int
    offset: int
    group_key: bytes | None
    idempotency_key: str | None
    checksum: int

    def __str__(self) -> str:
        return (
            f"{self.channel}[{self.partition}]@{self.offset} group {self.group_key!r} "
            f"key {self.idempotency_key}"
        )


class DeadLetter(NamedTuple):
    """A dead letter of the subscription."""

    idempotency_key: str
    reason: str


@dataclass
class Verdict:
    """What one subscription did with all that committed; `broken` counts by promise."""

    subscription: str
    exactly_once: bool
    committed: int
    delivered: int = 0
    repeats: int = 0
    dead_letters: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def breaks(self, promise: str, example: object) -> None:
        """Counts a broken promise, and keeps its first few examples."""
        self.broken[promise] = self.broken.get(promise, 0) + 1
        shown = self.examples.setdefault(promise, [])
        if len(shown) < MAX_EXAMPLES:
            shown.append(str(example))


def check(
    subscription: str,
    *,
    exactly_once: bool,
    log: Mapping[str, Committed],
    arrivals: Iterable[Arrival],
    dead_letters: Collection[DeadLetter],
    foreign: Container[str] = (),
    discarded: Collection[str] = (),
) -> Verdict:
    """Judges one subscription.

    `log`: everything that committed while it was active, by idempotency key; `discarded`: what of
    this need not arrive, nor end as a dead letter; `foreign`: what else committed, and is not for
    it. `arrivals`: its topics to their ends, each partition in the order of its offsets. Order is
    that of first arrivals, of one channel, group and priority.
    """
    verdict = Verdict(
        subscription,
        exactly_once,
        committed=len(log) - len(discarded),
        dead_letters=len(dead_letters),
    )
    arrived = _check_arrivals(verdict, log, arrivals, foreign)
    dead = _check_dead_letters(verdict, log, dead_letters, arrived, discarded)
    for key, message in log.items():
        if not (key in arrived or key in dead or key in discarded or message.oversize):
            verdict.breaks(LOST, f"{message.channel} group {message.group_key!r} key {key}")
    verdict.delivered = len(arrived)
    return verdict


def _check_arrivals(
    verdict: Verdict,
    log: Mapping[str, Committed],
    arrivals: Iterable[Arrival],
    foreign: Container[str],
) -> set[str]:
    """The keys that arrived and were committed."""
    arrived: set[str] = set()
    latest: dict[tuple[str, bytes, int], int] = {}
    for arrival in arrivals:
        key = arrival.idempotency_key
        if key is None:
            verdict.breaks(UNKEYED, arrival)
            continue
        message = log.get(key)
        if message is None:
            verdict.breaks(FOREIGN if key in foreign else UNCOMMITTED, arrival)
            continue
        found = (arrival.channel, arrival.group_key, arrival.checksum)
        # A repeat under the key of another message shows here too.
        if found != (message.channel, message.group_key, message.checksum):
            verdict.breaks(ALTERED, arrival)
            continue
        if key in arrived:
            verdict.repeats += 1
            if verdict.exactly_once:
                verdict.breaks(REPEATED, arrival)
            continue
        arrived.add(key)
        if message.group_key is not None:
            group = (message.channel, message.group_key, message.priority)
            before = latest.get(group, 0)
            if message.id < before:
                verdict.breaks(DISORDERED, f"{arrival}: message {message.id} after {before}")
            latest[group] = max(before, message.id)
    return arrived


def _check_dead_letters(
    verdict: Verdict,
    log: Mapping[str, Committed],
    dead_letters: Collection[DeadLetter],
    arrived: Collection[str],
    discarded: Collection[str],
) -> set[str]:
    """The keys of what was given up."""
    dead: set[str] = set()
    for dead_letter in dead_letters:
        key = dead_letter.idempotency_key
        message = log.get(key)
        if key in dead:
            verdict.breaks(TWICE_DEAD, dead_letter)
        if message is None or not message.oversize:
            verdict.breaks(UNEXPECTED_DEAD_LETTER, dead_letter)
        if key in arrived:
            verdict.breaks(DEAD_AND_DELIVERED, dead_letter)
        dead.add(key)
    for key, message in log.items():
        if message.oversize and key not in dead and key not in discarded:
            verdict.breaks(
                MISSING_DEAD_LETTER, f"{message.channel} group {message.group_key!r} key {key}"
            )
    return dead
