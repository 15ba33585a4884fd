"""GET /catalogue: types, found by a text or by a channel, a page at a time."""

from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.service.console.reading import Page, page
from tests.service.console.showcase import HOSTILE, LONG_CHANNEL


def listed(found: Page) -> list[str]:
    return [address.removeprefix("/catalogue/types/") for address in found.headings]


def asked(http: TestClient, **query: str) -> Page:
    return page(http.get("/catalogue", params=query))


def test_every_type_is_listed_with_what_it_is(public: TestClient) -> None:
    found = asked(public)
    assert set(listed(found)) == {
        "customer.registered",
        "customer.registered.v2",
        "hostile",
        "order.cancelled",
        "order.created",
        "order.paid",
        "order.shipped",
        "payment.success",
        "payment.unapplied",
    }
    assert "9 types" in found.text
    created = found.text.partition("order.created")[2].partition("order.paid")[0]
    for said in ("enforced", "A customer has ordered", "version 3", "Checkout team", "audit"):
        assert said in created
    assert "360 in 24 hours" in created
    assert "reported 3 faults" in found.text
    assert "deprecated enforced Replaced" in found.text
    assert found.links["AsyncAPI 3.0"] == "/catalogue/asyncapi.json"


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("ORDER.CREATED", {"order.created"}),
        ("too much of a person", {"customer.registered"}),
        ("accounts", {"customer.registered", "customer.registered.v2"}),
        ("audi", {"order.created"}),
        (HOSTILE, {"hostile"}),
        ("%", set()),
        ("_rder", set()),
        ("\\", set()),
        ("\0order.shipped", {"order.created", "order.shipped"}),
        ("'; drop schema outbox", set()),
    ],
)
def test_a_text_finds_what_it_stands_in(public: TestClient, text: str, types: set[str]) -> None:
    found = asked(public, q=text)
    assert set(listed(found)) == types
    assert ("Nothing was found" in found.text) == (not types)


def test_a_channel_has_its_topic_its_subscriptions_and_its_types(public: TestClient) -> None:
    found = asked(public, channel="payments")
    assert listed(found) == ["payment.success", "payment.unapplied"]
    assert "Channel payments" in found.text
    assert "Kafka topic payments" in found.text
    assert "billing webhook" in found.text
    assert "kafka Kafka reads every channel" in found.text
    assert "warehouse" not in found.text
    assert listed(asked(public, channel="payments", q="unapplied")) == ["payment.unapplied"]
    assert listed(asked(public, channel=LONG_CHANNEL)) == ["hostile"]
    assert "Nothing was found" in asked(public, channel="nope").text


def test_where_an_endpoint_is_is_not_told(public: TestClient) -> None:
    for path in ("", "?channel=orders.lifecycle", "/types/order.paid"):
        answer = public.get(f"/catalogue{path}")
        assert "secret-token" not in answer.text
        assert "warehouse.example" not in answer.text


def test_an_empty_catalogue_says_how_to_fill_it(bare: tuple[TestClient, Any]) -> None:
    http, _ = bare
    found = asked(http)
    assert "No event type is registered yet" in found.text
    assert "outbox-relay catalogue apply" in found.text


MANY = """
    with made as (
        insert into outbox.event_type
            (type, channels, description, owner, enforcement, compatibility, version, after_id)
        select 'type.' || lpad(n::text, 4, '0'), array['channel.' || n % 300], 'about', '', 'off',
               'full', 1, 0
        from generate_series(1, 2000) as n
        returning id
    )
    insert into outbox.event_type_version
        (event_type_id, version, compatibility, schema, closed, decides, checks, singles, made_by)
    select id, 1, 'full', 'true', 'true', '$', '[]', '[]', 'test' from made
"""


def test_two_thousand_types_come_in_pages(
    bare: tuple[TestClient, psycopg.Connection[Any]],
) -> None:
    http, database = bare
    database.execute(MANY)
    first = asked(http)
    assert "2,000 types, 1 to 50" in first.text
    assert "page 1 of 40" in first.text
    assert len(first.links) < 300
    found, following, pages = listed(first), first.links.get("After →"), 1
    while following:
        shown = page(http.get(following))
        found += listed(shown)
        following, pages = shown.links.get("After →"), pages + 1
    assert (found, pages) == ([f"type.{n:04}" for n in range(1, 2001)], 40)
    assert shown.links["← Before"] == "/catalogue?page=39"
    assert "Nothing was found" in asked(http, page="41").text
    for malformed in ("0", "-1", "x", "9999999", "1e9"):
        assert listed(asked(http, page=malformed))[0] == "type.0001"
    some = asked(http, q="type.1")
    assert "1,000 types" in some.text
    assert some.links["After →"] == "/catalogue?q=type.1&page=2"
    document = http.get("/catalogue/asyncapi.json")
    assert len(document.json()["components"]["messages"]) == 2000
