"""What of a message of a queue enters the log, and what can't."""

import json

import pytest

from relay.sources.entry import Refused
from relay.sources.record import Record, entry
from relay.sources.sqs.message import opened, received

OWN = "9d2f7c3e-0000-4000-8000-000000000001"


def message(body: str = "v", **attributes: str) -> Record:
    return received(
        {
            "MessageId": "id-1",
            "Body": body,
            "Attributes": {"MessageGroupId": "g"},
            "MessageAttributes": {
                name.replace("_", "-"): {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        },
        "orders.fifo",
    )


def refusal(record: Record, *, unwrap: bool = False) -> str:
    with pytest.raises(Refused) as refused:
        opened(record, unwrap)
    return refused.value.reason


def test_a_key_that_was_hashed_for_the_queue_is_the_group_key_again() -> None:
    assert opened(message(group_key="with a blank"), False).key == b"with a blank"
    assert opened(message(group_key_base64="AP8="), False).key == b"\x00\xff"
    assert opened(message(), False).key == b"g"


def test_what_is_in_base64_is_so_no_longer() -> None:
    record = opened(message("AP8=", payload_encoding="base64"), False)
    assert (record.value, record.headers) == (b"\x00\xff", [])
    assert refusal(message("%%", payload_encoding="base64")) == "bad_encoding"
    assert refusal(message("x", payload_encoding="gzip")) == "bad_encoding"
    assert refusal(message(group_key_base64="%")) == "bad_encoding"


def test_headers_that_stood_together_are_headers_again() -> None:
    together = json.dumps({"a": "1", "b": "ü"})
    assert opened(message(headers=together), False).headers[:2] == [
        ("a", b"1"),
        ("b", "ü".encode()),
    ]
    # Another program's attribute of that name.
    assert opened(message(headers="no JSON"), False).headers == [
        ("content-type", b"text/plain; charset=utf-8")
    ]


@pytest.mark.parametrize(
    "body",
    ["", "text", "[]", "{}", '{"Type": "SubscriptionConfirmation", "Message": "x"}', "[" * 9000],
)
def test_a_body_that_is_no_notification_is_refused_where_one_is_expected(body: str) -> None:
    assert refusal(message(body), unwrap=True) == "no_notification"


def test_half_characters_and_control_characters_crash_nothing() -> None:
    odd = received(
        {
            "MessageId": "a\x00\ud800",
            "Body": "x\ud800",
            "Attributes": {"MessageGroupId": "\ud800"},
            "MessageAttributes": {"n\ud800": {"DataType": "String", "StringValue": "\ud800"}},
        },
        "orders",
    )
    made = entry(opened(odd, False), "shop", OWN)
    assert made is not None
    assert len(made[3]) == 64
    assert str(made[2]).startswith("base64:")


def test_messages_with_different_ids_are_never_taken_for_one() -> None:
    """What is known by its id is deleted from the queue as one that has entered."""
    given = ["5", "a\x01", "a\x02", "a?", "ä", "ö", "x" * 100, "x" * 101, "x" * 102, ""]
    ids = [received({"MessageId": one, "Body": ""}, "orders").message_id for one in given]
    assert len(set(ids)) == len(given)
    assert all(one and one.isascii() and len(one) <= 100 for one in ids)
    assert (ids[0], ids[6]) == ("5", "x" * 100)


def test_bytes_of_an_attribute_are_left_out_and_numbers_are_text() -> None:
    record = received(
        {
            "MessageId": "id-1",
            "Body": "v",
            "MessageAttributes": {
                "b": {"DataType": "Binary", "BinaryValue": b"\xff"},
                "n": {"DataType": "Number", "StringValue": "5"},
            },
        },
        "orders",
    )
    made = entry(opened(record, False), "shop", OWN)
    assert made is not None
    assert json.loads(made[4] or "") == {"outbox-path": OWN, "n": "5"}
    assert made[2] is None


def test_what_is_too_large_for_the_log_is_refused() -> None:
    with pytest.raises(Refused, match="too_large"):
        entry(opened(message("v" * 1_000_000), False), "shop", OWN)
