"""A message as an entry: whatever another one holds, SQS takes the two for the same or not."""

import json
import re

import pytest

from relay.log.data_schemas import DataSchemas
from relay.log.message import Row
from relay.push.sqs.entry import MAX_BYTES, Entries

INSTALLATION = "0190f1d2-0000-7000-8000-000000000000"


def row(id_: int = 100, created_at: int = 7, group: bytes | None = b"g") -> Row:
    return id_, b"orders", b"t", group, b"key", None, b"text/plain", b"x", created_at, None, 0


def unique(message: Row, *, replays: int = 0, replayed: bool = False) -> str:
    entries = Entries("/outbox", fifo=True, unique=f"{INSTALLATION}-12", replays=replays)
    found: str = entries.of(message, MAX_BYTES, replayed=replayed).fields["MessageDeduplicationId"]
    return found


def test_each_attempt_at_a_message_has_the_same_deduplication_id() -> None:
    assert unique(row()) == unique(row())


def test_a_message_that_has_the_id_of_one_that_a_failover_lost_has_another() -> None:
    """The lost one may have been sent: SQS would drop the other."""
    assert unique(row(created_at=7)) != unique(row(created_at=8))


@pytest.mark.parametrize("replays", [1, 2])
def test_each_replay_has_another(replays: int) -> None:
    assert unique(row(), replays=replays, replayed=True) not in (
        unique(row(), replays=replays),
        unique(row(), replays=replays + 1, replayed=True),
    )


def test_it_fits_whatever_the_numbers_are() -> None:
    largest = 2**63 - 1
    entries = Entries("/", fifo=True, unique=f"{INSTALLATION}-{largest}", replays=2**31 - 1)
    fields = entries.of(row(largest, 2**57, group=None), MAX_BYTES, replayed=True).fields
    for name in ("MessageDeduplicationId", "MessageGroupId"):
        assert re.fullmatch(r"[!-~]{1,128}", fields[name])


SCHEMAS = DataSchemas("https://shop.example/v1/event-types")
URI = "https://shop.example/v1/event-types/t/versions/3"


def attributes(payload: bytes, own: bytes | None) -> dict[str, str]:
    """Of a message of type `t` that fits version 3, its group in an attribute."""
    entries = Entries("/outbox", fifo=False, unique="u", replays=0, schemas=SCHEMAS)
    message: Row = (1, b"c", b"t", b"a b", b"k", own, b"text/plain", payload, 7, 3, 0)
    made = entries.of(message, MAX_BYTES, replayed=False).fields["MessageAttributes"]
    return {name: value["StringValue"] for name, value in made.items()}


def test_the_schema_is_an_attribute_where_there_is_room_for_it_and_always_there() -> None:
    assert attributes(b"x", None)["ce_dataschema"] == URI
    full = attributes(b"\xff", b'{"a": "b"}')
    assert len(full) == 10
    assert json.loads(full["headers"]) == {"a": "b", "ce_dataschema": URI}
