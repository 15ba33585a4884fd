"""What a request says about its message."""

import json
from urllib.parse import unquote

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from relay.log.message import Row
from relay.push.requests import headers
from tests.sql.log import one
from tests.sql.test_publish import NOT_ITS_OWN


def row(
    type_: str = "order.paid",
    own: dict[str, str] | None = None,
    key: str = "0198-key",
    content_type: str = "application/json",
) -> Row:
    """A message of 2026-11-22 16:00:00.000042 UTC."""
    headers = None if own is None else json.dumps(own).encode()
    moment = 848_678_400_000_042
    return (
        7, b"orders", type_.encode(), b"42", key.encode(), headers, content_type.encode(), b"{}",
        moment, None, 0,
    )  # fmt: skip


class Headers(headers.Headers):
    """Whose lines are read again."""

    def read(self, row: Row, *, replayed: bool) -> dict[str, str]:
        """What they say."""
        text = self.of(row, replayed=replayed).decode("ascii")
        assert not text or text.endswith("\r\n")
        pairs = [line.split(": ", 1) for line in text.split("\r\n")[:-1]]
        assert len({name for name, _ in pairs}) == len(pairs)
        return {name: value for name, value in pairs}


def test_a_message_goes_as_a_cloud_event_with_its_idempotency_key() -> None:
    said = Headers("/outbox").read(row(own={"traceparent": "00-ab-cd-01"}), replayed=False)
    assert said == {
        "ce-specversion": "1.0",
        "ce-id": "0198-key",
        "ce-type": "order.paid",
        "ce-source": "/outbox",
        "ce-time": "2026-11-22T16:00:00.000042Z",
        "content-type": "application/json",
        "idempotency-key": "0198-key",
        "webhook-id": "0198-key",
        "traceparent": "00-ab-cd-01",
    }


def test_only_what_is_replayed_says_so_and_the_message_can_not() -> None:
    made = Headers("/outbox")
    assert made.read(row(), replayed=True)["replayed"] == "true"
    assert "replayed" not in made.read(row(), replayed=False)
    assert "Replayed" not in made.read(row(own={"Replayed": "true"}), replayed=False)


def test_blanks_quotes_and_percents_of_attributes_are_percent_encoded() -> None:
    # The binding's own example: section 3.1.3.2.
    said = Headers("/a b").read(row(type_="Euro € 😀", key='50%"'), replayed=False)
    assert said["ce-type"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    assert said["ce-source"] == "/a%20b"
    assert said["ce-id"] == "50%25%22"
    assert said["webhook-id"] == said["idempotency-key"] == '50%"'


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_type_is_printable_ascii_on_the_wire_and_comes_back(type_: str) -> None:
    text = Headers("/outbox").read(row(type_=type_), replayed=False)["ce-type"]
    assert all("!" <= character <= "~" for character in text)
    assert unquote(text) == type_


def test_own_headers_can_not_frame_address_or_authorise_the_request() -> None:
    hostile = {
        "Host": "internal", "Content-Length": "0", "Transfer-Encoding": "chunked",
        "connection": "close", "Keep-Alive": "1", "TE": "trailers", "Trailer": "x",
        "Upgrade": "h2c", "Expect": "100-continue", "Authorization": "Bearer stolen",
        "Proxy-Authorization": "Basic x", "Cookie": "a=b", "User-Agent": "another",
        "Accept-Encoding": "gzip", "Content-Type": "text/html", "CE-Id": "another",
        "Webhook-Id": "another", "Webhook-Signature": "v1,forged", "Idempotency-Key": "another",
    }  # fmt: skip
    made = Headers("/outbox")
    assert made.read(row(own=hostile), replayed=False) == made.read(row(), replayed=False)


def test_what_servers_fold_into_a_withheld_name_is_withheld(database_url: str) -> None:
    """As the database refuses it: the two rules agree on every name."""
    made = Headers("/outbox")
    plain = made.read(row(), replayed=False)
    with psycopg.connect(database_url) as db:
        for name in (*NOT_ITS_OWN, "X-Tenant", "x_tenant", "hostname", "cent", "a b", "", "é"):
            own = made.read(row(own={name: "x"}), replayed=False)
            query = "select outbox.headers_fault(%s) is null"
            fits = one(db, query, json.dumps({name: "x"}))
            assert own == (plain | {name: "x"} if fits else plain), name


def test_own_values_can_not_end_their_line() -> None:
    said = Headers("/outbox").read(row(own={"x-a": "b\r\nHost: internal\0"}), replayed=False)
    assert said["x-a"] == "b%0D%0AHost: internal%00"


def test_own_values_beyond_ascii_are_percent_encoded_and_others_left_alone() -> None:
    own = {"x-plain": '100 % "so"', "x-name": "Zoë, 5 %"}
    said = Headers("/outbox").read(row(own=own), replayed=False)
    assert said["x-plain"] == '100 % "so"'
    assert said["x-name"] == "Zo%C3%AB, 5 %25"


def test_the_lines_of_a_message_are_made_once_for_all_its_subscriptions() -> None:
    made = Headers("/outbox")
    first = made.of(row(own={"a": "b"}), replayed=False)
    assert made.of(row(own={"a": "b"}), replayed=False) is first
    assert made.of(row(own={"a": "c"}), replayed=False) != first
    assert made.of(row(own={"a": "b"}), replayed=True) != first


def test_lines_that_are_long_are_not_kept_in_memory() -> None:
    made, long = Headers("/outbox"), {"a": "b" * headers.MAX_KEPT_BYTES}
    first = made.of(row(own=long), replayed=False)
    assert made.of(row(own=long), replayed=False) is not first
