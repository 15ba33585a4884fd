"""Where a cursor stands in a log that commits out of order.

The log commits out of order, so a position in it is no id: it is a snapshot. Inside one delta id
order is right for a group, because a writer of the same group saw the earlier message commit before
it drew its own id.
"""

import msgspec


class Delta(msgspec.Struct, frozen=True):
    """What a later snapshot `target` shows besides `seen`, while a cursor works it off.

    Done are its messages up to `after_id`: first the late ones below `fresh_id`, then the range
    from `fresh_id` to `upto_id`.
    """

    target: str
    after_id: int
    fresh_id: int
    upto_id: int


class Position(msgspec.Struct, frozen=True):
    """Every message visible in the snapshot `seen` is done. `delta` is None between deltas."""

    seen: str
    delta: Delta | None = None


def position_of(
    seen: str,
    target: str | None,
    after_id: int | None,
    fresh_id: int | None,
    upto_id: int | None,
) -> Position:
    """Of the columns of a checkpoint."""
    if target is None:
        return Position(seen)
    assert after_id is not None
    assert fresh_id is not None
    assert upto_id is not None
    return Position(seen, Delta(target, after_id, fresh_id, upto_id))


def columns(position: Position) -> dict[str, object]:
    """The columns of a checkpoint that stands there."""
    delta = position.delta
    return {
        "seen": position.seen,
        "target": delta.target if delta else None,
        "after_id": delta.after_id if delta else None,
        "fresh_id": delta.fresh_id if delta else None,
        "upto_id": delta.upto_id if delta else None,
    }


def begin_delta(
    target: str, fresh_id: int | None, late_id: int | None, upto_id: int | None
) -> Delta | None:
    """A delta that begins at the lowest of the late and the fresh ids; None without a message."""
    if fresh_id is None and late_id is None:
        return None
    assert upto_id is not None
    fresh_id = upto_id + 1 if fresh_id is None else fresh_id
    first_id = fresh_id if late_id is None else min(fresh_id, late_id)
    return Delta(target, first_id - 1, fresh_id, upto_id)


def empty_delta(target: str, upto_id: int | None) -> Delta:
    """A delta without a message, by which a channel cursor comes to where it is merged."""
    upto_id = upto_id or 0
    return Delta(target, upto_id, upto_id + 1, upto_id)


def age(seen: str) -> tuple[int, int]:
    """Sorts snapshots, the oldest first: each shows all that those before it show.

    That is so since each has its own transaction in progress: see outbox.current_snapshot.
    """
    _, before_xid, in_progress = seen.split(":")
    return int(before_xid), -len(in_progress.split(",")) if in_progress else 0
