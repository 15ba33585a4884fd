"""GET /catalogue/types/{type}: what is in it, what changed, who listens, what did not fit."""

import pytest
from starlette.testclient import TestClient

from tests.event_types import register
from tests.service.api import Platform
from tests.service.console.reading import Page, page
from tests.service.console.showcase import EXAMPLE, HOSTILE

TYPES = "/catalogue/types"


def shown(http: TestClient, type_: str, status: int = 200) -> Page:
    return page(http.get(f"{TYPES}/{type_}"), status)


def test_a_type_is_shown_with_all_that_is_known(public: TestClient) -> None:
    found = shown(public, "order.created")
    for said in (
        "version 3 enforced A customer has ordered",
        "Owner Checkout team",
        "Channels orders.lifecycle audit",
        "At publish What does not fit is refused.",
        "360 in 24 hours, 1,112 in 7 days",
        "Faults none",
        "orderId string required uuid",
        "coupon string or null at most 20 characters",
        "tags array of string each item once",
        "total object Money required",
        "amount integer required ≥ 0 ≤ 100000000",
        "lines array required 1 to 500 items each item object",
        '"web" "app" "desk"',
    ):
        assert said in found.text
    # The schema and the example, as they were written.
    assert '"$ref": "#/$defs/Money"' in found.text
    assert str(EXAMPLE["orderId"]) in found.text
    # The second use of a definition leads to the first.
    assert ("a", {"class": "kind", "href": "#definition-1"}) in found.tags
    assert ("li", {"id": "definition-1"}) in found.tags


def test_who_listens_is_told_by_channel_and_type(public: TestClient) -> None:
    listens = shown(public, "order.created").text.partition("Who listens")[2]
    for said in ("billing webhook", "kafka Kafka reads every channel", "warehouse webhook"):
        assert said in listens
    shipped = shown(public, "order.shipped").text.partition("Who listens")[2]
    assert "billing webhook" in shipped
    assert "warehouse" not in shipped
    registered = shown(public, "customer.registered").text
    assert "newsletter webhook paused" in registered


def test_each_version_says_what_it_changed(public: TestClient) -> None:
    versions = shown(public, "order.created").text.partition("Versions")[2]
    third, _, before = versions.partition("Version 2")
    assert "Version 3 in force" in third
    assert "coupon null or string, optional" in third
    assert "tags array, optional" in third
    assert 'channel one of "web", "app", "desk", optional' in before
    assert "The first." in before.partition("Version 1")[2]


def test_what_a_version_broke_is_told(public: TestClient) -> None:
    found = shown(public, "payment.unapplied").text
    assert "reason optional before, required now" in found
    assert 'reason enum "unknown_order"' in found
    broke = found.partition("What it broke")[2]
    assert "/properties/reason" in broke
    assert "What it broke" not in shown(public, "order.created").text


def test_schemas_that_are_too_large_are_not_compared(shop: Platform, public: TestClient) -> None:
    for number in (1, 2):
        large = {f"p{n}": {"type": "string", "maxLength": number} for n in range(500)}
        schema = {"type": "object", "properties": large}
        register(shop.database, "large", schema, compatibility="none", enforcement="off")
    found = shown(public, "large").text
    assert "too large to compare" in found
    assert "p0 maxLength from 1 to 2" in found
    assert "and 450 more changes" in found


def test_a_version_before_is_shown_as_it_was(public: TestClient) -> None:
    found = page(public.get(f"{TYPES}/order.created/versions/1"))
    assert "This is version 1. Messages are held to version 3" in found.text
    assert "coupon" not in found.text
    assert "Example" not in found.text
    newest = page(public.get(f"{TYPES}/order.created/versions/3"))
    assert "This is version" not in newest.text


def test_many_versions_are_a_link_each_step_back(shop: Platform, public: TestClient) -> None:
    for number in range(1, 25):
        properties = {f"p{n}": {"type": "string"} for n in range(number)}
        register(shop.database, "many", {"type": "object", "properties": properties})
    found = shown(public, "many")
    assert "Version 15 " in found.text
    assert found.links["Version 14 and before"] == f"{TYPES}/many/versions/14#versions"
    older = page(public.get(f"{TYPES}/many/versions/4"))
    assert older.links["The newest versions"] == f"{TYPES}/many#versions"
    assert "The first." in older.text


def test_a_deprecated_type_leads_to_its_successor(public: TestClient) -> None:
    found = shown(public, "customer.registered")
    assert "Deprecated since 30 June 2026. Publish and read customer.registered.v2" in found.text
    assert found.links["customer.registered.v2"] == f"{TYPES}/customer.registered.v2"


def test_faults_are_counted_for_all_and_shown_to_keys(shop: Platform, public: TestClient) -> None:
    to_anybody = shown(public, "payment.success").text
    assert "3 messages did not fit" in to_anybody
    assert "What did not fit lately" not in to_anybody
    answer = shop.send("GET", f"{TYPES}/payment.success")
    lately = page(answer).text.partition("What did not fit lately")[2]
    assert lately.count("/paymentId type") == 3
    assert "payments" in lately


@pytest.mark.parametrize(
    "path",
    [
        "nope",
        "order.created/versions/4",
        "order.created/versions/0",
        "order.created/versions/99999",
        "order.created/versions/x",
        "order.created/versions/²",
        "outbox.test",
        "a%20b",
        "%3Cscript%3E",
        "a" * 201,
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(public: TestClient, path: str) -> None:
    found = shown(public, path, 404)
    assert "no such event type" in found.text
    assert found.links["To the catalogue"] == "/catalogue"


def test_what_others_wrote_is_text_and_nothing_else(public: TestClient) -> None:
    for http, path in (
        (public, "/catalogue"),
        (public, f"{TYPES}/hostile"),
        (public, f"/catalogue?q={HOSTILE}"),
        (public, f"/catalogue?channel={HOSTILE}"),
    ):
        found = page(http.get(path))
        tags = {tag for tag, _ in found.tags}
        assert not tags & {"script", "b", "style", "iframe", "object", "embed", "base"}
        assert HOSTILE in found.text
        for tag, attributes in found.tags:
            # The policy lets neither pass, and nothing is asked of another host.
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for name in ("href", "src", "action"):
                address = attributes.get(name)
                assert address is None or address[:1] in "/#", (tag, address)
                assert not (address or "").startswith("//")


def test_what_sql_can_not_keep_is_told(shop: Platform, public: TestClient) -> None:
    schema = {"properties": {"word": {"pattern": r"\bword"}}}
    register(shop.database, "word", schema, enforcement="report")
    found = shown(public, "word").text
    assert "SQL can't keep the schema, so only what is published over HTTP is checked." in found
    assert "/properties/word/pattern" in found
    assert "can't keep" not in shown(public, "order.created").text


def test_what_is_nested_deeply_makes_no_page_long(shop: Platform, public: TestClient) -> None:
    """Each of 30,000 lines would be indented by a hundred blanks."""
    nested = f"{'[' * 50}{','.join(['1'] * 30_000)}{']' * 50}"
    register(shop.database, "nested", True, channels=["nested"], enforcement="off", example=nested)
    assert len(public.get("/catalogue/types/nested").content) < 300_000
