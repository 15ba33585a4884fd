"""What every schedule has to keep, held against what was committed and what arrived."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.relay.recording import Arrival


class Committed(NamedTuple):
    """A message in the log. The key begins with its group and its number in the group.

    `wanted`: the subscription has to get it.
    """

    id: int
    idempotency_key: str
    wanted: bool = True


def broken_promises(
    committed: Sequence[Committed],
    arrivals: Sequence[Arrival],
    cut_off: Sequence[Sequence[int]],
) -> list[str]:
    """Each broken promise to one subscription in words; empty when all are kept.

    `cut_off` are the ids that were in flight at each crash: these, and no others, may come again.
    """
    by_id: dict[int, Arrival] = {}
    for one in arrivals:
        by_id.setdefault(one.id, one)
    first = list(by_id.values())
    keys = {one.id: one.idempotency_key for one in committed}
    wanted = {one.id for one in committed if one.wanted}
    broken = [f"lost: {keys[id]}" for id in keys if id in wanted and id not in by_id]
    broken += [
        f"seen though nobody committed it: {one.idempotency_key}"
        for one in first
        if one.id not in keys
    ]
    broken += [
        f"not for it: {one.idempotency_key}"
        for one in first
        if one.id in keys and one.id not in wanted
    ]
    broken += [
        f"came with the key {one.idempotency_key} instead of {keys[one.id]}"
        for one in arrivals
        if keys.get(one.id, one.idempotency_key) != one.idempotency_key
    ]
    times = Counter(one.id for one in arrivals)
    may_repeat = Counter(id for run in cut_off for id in run)
    broken += [
        f"came {times[one.id]} times: {one.idempotency_key}"
        for one in first
        if times[one.id] > 1 + may_repeat[one.id]
    ]
    return broken + _inversions(first)


def _inversions(first: Sequence[Arrival]) -> list[str]:
    """First arrivals of one group whose numbers do not rise."""
    inverted = []
    last: dict[str, tuple[int, str]] = {}
    for one in first:
        group, number, _ = one.idempotency_key.split(":")
        before = last.get(group, (0, ""))
        if int(number) < before[0]:
            inverted.append(f"out of order: {one.idempotency_key} after {before[1]}")
        last[group] = max(before, (int(number), one.idempotency_key))
    return inverted
