"""What of a record enters the log: keys, events, headers, and what can't."""

import base64
import json
from hashlib import sha256

import msgspec
import pytest

from relay.sources.entry import Entry, Refused
from relay.sources.record import Headers, Record, entry, group_key

OWN = "9d2f7c3e-0000-4000-8000-000000000001"
OTHER = "9d2f7c3e-0000-4000-8000-000000000002"


def made(value: bytes | None = b"{}", *headers: tuple[str, bytes | None]) -> Entry:
    found = entry(Record("shop.orders", 3, 17, b"k", value, headers), "shop", OWN)
    assert found is not None
    return found


def headers_of(found: Entry) -> dict[str, str]:
    return msgspec.json.decode(found[4] or "{}", type=dict[str, str])


def refusal(value: bytes, *headers: tuple[str, bytes | None]) -> str:
    with pytest.raises(Refused) as refused:
        made(value, *headers)
    return refused.value.reason


def test_a_plain_record_has_its_topics_name_and_its_place() -> None:
    assert made(b"\x00\xff") == (
        "shop",
        "shop.orders",
        "k",
        "shop:orders-3-17",
        f'{{"outbox-path":"{OWN}"}}',
        "application/octet-stream",
        b"\x00\xff",
    )


def test_a_tombstone_enters_and_says_what_it_is() -> None:
    found = made(None)
    assert found[6] == b""
    assert headers_of(found)["kafka-tombstone"] == "true"
    assert "kafka-tombstone" not in headers_of(made(b""))


@pytest.mark.parametrize(
    "key", [b"", b"a\0b", b"\xff\xfe", b"x" * 1024, b"x" * 1025, b"\xff" * 600, b"\xff" * 2000]
)
def test_every_key_is_a_group_key(key: bytes) -> None:
    found = group_key(key)
    assert len(found.encode()) <= 1024
    assert "\0" not in found
    assert found != group_key(key + b"\xff")


def test_no_key_is_no_group() -> None:
    found = entry(Record("t", 0, 0, None, b"", ()), "shop", OWN)
    assert found is not None
    assert found[2] is None


def test_the_idempotency_key_is_the_headers_then_the_events_then_the_place() -> None:
    event: Headers = [("ce_type", b"t"), ("ce_id", b"a.b"), ("ce_source", b"/s")]
    assert made(b"", ("idempotency-key", b"key-1"), *event)[3] == "key-1"
    assert made(b"", *event)[3] == sha256(b"/s a.b").hexdigest()
    assert made(b"")[3] == "shop:orders-3-17"
    assert len(made(b"", ("idempotency-key", b"long" * 100))[3]) == 64
    assert len(made(b"", ("idempotency-key", "ü".encode()))[3]) == 64


def test_events_of_two_sources_with_one_id_have_two_idempotency_keys() -> None:
    event: Headers = [("ce_type", b"t"), ("ce_id", b"7")]
    first = made(b"", *event, ("ce_source", b"/a"))[3]
    assert first != made(b"", *event, ("ce_source", b"/b"))[3]
    assert first == made(b"again", *event, ("ce_source", b"/a"))[3]


def test_an_event_in_binary_mode() -> None:
    found = made(
        b"<a/>",
        ("ce_specversion", b"1.0"),
        ("ce_type", b"order.paid"),
        ("ce_id", b"7"),
        ("ce_source", b"/shop"),
        ("ce_time", b"2026-03-01T09:00:00Z"),
        ("ce_tenant", b"acme"),
        ("content-type", b"text/xml"),
        ("traceparent", b"00-1-2-01"),
    )
    assert (found[1], found[5], found[6]) == ("order.paid", "text/xml", b"<a/>")
    assert found[3] == sha256(b"/shop 7").hexdigest()
    assert headers_of(found) == {
        "outbox-path": OWN,
        "event-id": "7",
        "event-source": "/shop",
        "event-time": "2026-03-01T09:00:00Z",
        "event-tenant": "acme",
        "traceparent": "00-1-2-01",
    }


STRUCTURED = ("content-type", b"application/cloudevents+json; charset=utf-8")


def test_an_event_in_structured_mode_keeps_its_data_as_it_was_written() -> None:
    found = made(
        b'{"specversion":"1.0","type":"order.paid","id":"7","source":"/shop","number":5,'
        b'"data":{"total":  10.10}}',
        STRUCTURED,
    )
    assert (found[1], found[5]) == ("order.paid", "application/json")
    assert headers_of(found)["event-id"] == "7"
    assert found[6] == b'{"total":  10.10}'
    assert headers_of(found)["event-number"] == "5"


def test_structured_data_may_be_bytes_or_text() -> None:
    event = {"specversion": "1.0", "type": "t", "id": "1", "source": "s"}
    coded = {**event, "data_base64": base64.b64encode(b"\x00\x01").decode()}
    text = {**event, "datacontenttype": "text/plain", "data": "hello"}
    assert made(json.dumps(coded).encode(), STRUCTURED)[6] == b"\x00\x01"
    assert made(json.dumps(text).encode(), STRUCTURED)[5:] == ("text/plain", b"hello")
    assert made(json.dumps(event).encode(), STRUCTURED)[6] == b""


@pytest.mark.parametrize(
    "value",
    [
        b"", b"[]", b"null", b'{"type":"t"}', b"[" * 5000, b'{"type":{},"id":"1","source":"s"}',
        b'{"type":"t","id":"1","source":"s","data_base64":"%%"}', b"\xff",
        b'{"type":"\\u0000","id":"1","source":"s"}',
    ],
)  # fmt: skip
def test_what_says_that_it_is_an_event_and_is_none_is_refused(value: bytes) -> None:
    assert refusal(value, STRUCTURED) == "bad_event"


def test_a_type_that_no_message_may_have_is_refused() -> None:
    event: Headers = [("ce_id", b"1"), ("ce_source", b"/s")]
    assert refusal(b"", ("ce_type", b"a\nb"), *event) == "bad_event"
    assert refusal(b"", ("ce_type", b"t" * 256), *event) == "bad_event"


def test_what_is_too_large_with_all_that_counts_is_refused() -> None:
    assert refusal(b"v" * 983_041) == "too_large"
    # The path is a header, and counts.
    assert refusal(b"v" * 983_039) == "too_large"
    assert made(b"v" * 982_900)


def test_binary_and_missing_header_values_are_left_out_and_repeats_count_once() -> None:
    found = made(b"", ("a", b"\xff"), ("b", None), ("c", b"1"), ("c", b"2"), ("bad name", b"x"))
    assert headers_of(found) == {"outbox-path": OWN, "c": "2"}


def test_what_has_passed_this_installation_does_not_enter_again() -> None:
    came_back = Record("t", 0, 0, None, b"", [("outbox-path", f"{OWN}, {OTHER}".encode())])
    assert entry(came_back, "shop", OWN) is None
    twice = [("Outbox-Path", OWN.encode()), ("outbox-path", OTHER.encode())]
    assert entry(Record("t", 0, 0, None, b"", twice), "shop", OWN) is None
    elsewhere = Record("t", 0, 0, None, b"", [("outbox-path", OTHER.encode())])
    found = entry(elsewhere, "shop", OWN)
    assert found is not None
    assert headers_of(found)["outbox-path"] == f"{OTHER},{OWN}"


@pytest.mark.parametrize("name", ["outbox_path", "Outbox.Path", "outbox~PATH"])
def test_no_header_that_the_log_takes_for_the_path_stands_in_its_place(name: str) -> None:
    """Who writes to both ends of a loop could else let a message go round for ever."""
    found = made(b"", ("a", b"1"), (name, b"nowhere"))
    assert headers_of(found) == {"outbox-path": OWN, "a": "1"}
    came_back = Record("t", 0, 0, None, b"", [(name, OWN.encode())])
    assert entry(came_back, "shop", OWN) is None


def test_what_is_no_path_is_not_carried_and_of_a_long_one_the_end_is() -> None:
    odd = Record("t", 0, 0, None, b"", [("outbox-path", b"a\nb," + OTHER.encode() + b"," * 9000)])
    found = entry(odd, "shop", OWN)
    assert found is not None
    assert headers_of(found)["outbox-path"] == f"{OTHER},{OWN}"
    many = [f"9d2f7c3e-0000-4000-8000-{n:012}" for n in range(100, 2000)]
    long = Record("t", 0, 0, None, b"", [("outbox-path", ",".join(many).encode())])
    found = entry(long, "shop", OWN)
    assert found is not None
    assert headers_of(found)["outbox-path"].split(",") == [*many[-99:], OWN]


def test_with_more_headers_than_a_message_may_bring_it_does_not_enter() -> None:
    headers = [(f"h{n}", b"v") for n in range(201)]
    assert refusal(b"", *headers) == "too_many_headers"
    assert len(headers_of(made(b"", *headers[:200]))) == 100


def test_each_header_counts_with_what_it_takes_of_memory() -> None:
    assert Record("t", 0, 0, None, b"", [("a", b"")] * 1000).size > 100_000
