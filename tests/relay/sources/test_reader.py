"""Where a topic begins and ends is never guessed; what librdkafka makes of a broken answer."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Producer

from relay.log.sink import SinkAway
from relay.sources.kafka.reader import Reader
from relay.sources.record import Record
from tests.mock_cluster import DISCONNECT, MockCluster

LIST_OFFSETS_API_KEY = 2


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic("shop", 1)
        yield cluster


# A time is asked for after the end.
@pytest.mark.parametrize(
    ("start", "answers"),
    [
        ("earliest", [DISCONNECT]),
        ("latest", [DISCONNECT]),
        ("2026-03-01T09:00:00Z", [0, DISCONNECT]),
    ],
)
def test_an_offset_that_a_broker_did_not_tell_is_none(
    cluster: MockCluster, start: str, answers: list[int]
) -> None:
    properties = {"bootstrap.servers": cluster.bootstrap_servers}
    with closing(Reader(properties, "shop", "outbox")) as reader:
        assert reader.offsets([0], start) == {0: 0}
        cluster.fail_requests(LIST_OFFSETS_API_KEY, answers)
        with pytest.raises(SinkAway):
            reader.offsets([0], start)


def test_records_of_many_headers_come_few_at_a_time_and_none_is_left_out(
    cluster: MockCluster,
) -> None:
    """Each takes megabytes, though it is of some kilobytes where it lies."""
    properties = {"bootstrap.servers": cluster.bootstrap_servers}
    producer = Producer(properties)
    for n in range(40):
        # The small ones before them tell nothing of these.
        headers: list[tuple[str, str | bytes | None]] = [("a", b"")] * (0 if n < 10 else 30_000)
        producer.produce("shop", b"%d" % n, headers=headers, partition=0)
    assert producer.flush(30) == 0
    with closing(Reader(properties, "shop", "outbox")) as reader:
        reader.read_from({0: 0})
        batches: list[list[Record]] = []
        while sum(map(len, batches)) < 40:
            assert reader.wait(10.0)
            batches.append(list(reader.records()))
    assert [one.offset for batch in batches for one in batch] == list(range(40))
    assert all(sum(len(one.headers) for one in batch) <= 90_000 for batch in batches)
