"""What becomes of the records of one batch."""

import pytest

from relay.sources.entry import MAX_BYTES
from relay.sources.kafka.batch import Batch, Moved
from relay.sources.kafka.positions import Move
from relay.sources.record import Headers, Record
from relay.sources.source import Source

OWN = "9d2f7c3e-0000-4000-8000-000000000001"
SOURCE = Source(1, "in", "kafka", "shop", 3, "t", "earliest", "", "{}")


def record(partition: int, offset: int, value: bytes = b"v", headers: Headers = ()) -> Record:
    return Record("t", partition, offset, b"k", value, headers)


def test_each_partition_moves_behind_its_last_record_whatever_became_of_it() -> None:
    batch = Batch(SOURCE, OWN, {0: 5, 1: 0, 2: 0})
    records = [
        record(0, 5),
        record(1, 0, b"x" * (MAX_BYTES + 1)),
        record(0, 6, headers=[("outbox-path", OWN.encode())]),
        record(1, 3),
        record(0, 9),
    ]
    batch.read(records)
    assert [entry[3] for entry in batch.entries] == ["t-0-5", "t-1-3", "t-0-9"]
    assert batch.moves == {0: Move(10, 5, 2, 1), 1: Move(4, 0, 1, 0)}
    assert [(one.record, one.reason) for one in batch.dead] == [(records[1], "too_large")]


def test_what_the_log_refuses_is_a_dead_letter_and_has_not_entered() -> None:
    batch = Batch(SOURCE, OWN, {0: 0, 1: 0})
    records = [record(0, 0), record(1, 0), record(0, 1)]
    batch.read(records)
    batch.refuse({2: "own", 1: "no"})
    assert [(one.record, one.reason, one.detail) for one in batch.dead] == [
        (records[1], "refused", "no"),
        (records[2], "refused", "own"),
    ]
    assert [move.entered for move in batch.moves.values()] == [1, 0]


@pytest.mark.parametrize("stale", [record(1, 7), record(0, 4)])
def test_a_record_of_a_former_assignment_ends_the_batch(stale: Record) -> None:
    """Of a partition that is another relay's by now, or that was taken in before."""
    batch = Batch(SOURCE, OWN, {0: 5})
    with pytest.raises(Moved):
        batch.read([stale])
    # So that it is looked up where this partition stands.
    assert stale.partition in batch.moves
