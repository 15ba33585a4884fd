"""GET /v1/asyncapi.json: the document, by AsyncAPI's own schema and by its parser."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import psycopg
import pytest
from starlette.testclient import TestClient

from local.npm import Package
from service.app import create_app
from service.settings import KafkaServer, Settings
from service.web.access.keys import SCOPES
from tests.conftest import PostgresServer
from tests.programs import required
from tests.service.api import Json, Platform
from tests.service.platform.limited import Limited

ASYNCAPI = "/v1/asyncapi.json"
SPECS = Package(
    "@asyncapi/specs", "6.11.1", "01af8744dc33c0c7eb2e908f6a955319ee58b70ecadc9387d1aeb16c0cd28928"
)
PARSER = Package(
    "@asyncapi/parser", "3.6.6", "46352c768e39d323525350d3154fb40f5107d21634453bf6dc6631708fcfee33"
)
# It is made for browsers, in one file, which takes seconds to load. A document a line goes in, what
# it says of that goes out as JSON; 0 is an error, 1 a warning.
PARSE = """
globalThis.self = globalThis.window = globalThis;
globalThis.location = {href: "file:///"};
const Parser = require(process.argv[1]);
require("readline").createInterface({input: process.stdin}).on("line", async (text) => {
    const {document, diagnostics} = await new Parser().parse(text);
    const payload = (one) => one.payload() && one.payload().json();
    console.log(JSON.stringify({
        diagnostics,
        channels: document && document.channels().all().map((one) => one.id()),
        payloads: document && Object.fromEntries(
            document.allMessages().all().map((one) => [one.name(), payload(one)])),
        headers: document && document.allMessages().all().map((one) => one.headers().json()),
    }, (key, value) => key.startsWith("x-parser") ? undefined : value));
});
"""

# Every keyword that takes a schema, and references from each of them.
WHOLE: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "An order",
    "description": "With <b>everything</b>.",
    "type": "object",
    "required": ["orderId", "total"],
    "properties": {
        "orderId": {"type": "string", "format": "uuid"},
        "$ref": {"type": "string", "description": "A property that is called so."},
        "total": {"$ref": "#/$defs/Money"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 1},
        "pair": {"prefixItems": [{"type": "string"}, {"$ref": "#/$defs/Money"}], "items": False},
        "state": {"enum": ["open", "paid", None]},
        "constant": {"const": {"$ref": "not one"}},
        "times": {"type": "object", "patternProperties": {"^at_": {"format": "date-time"}}},
        "paid": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/Money"}]},
    },
    "dependentRequired": {"paid": ["state"]},
    "if": {"properties": {"state": {"const": "paid"}}, "required": ["state"]},
    "then": {"required": ["paid"]},
    "$defs": {
        "Money": {
            "type": "object",
            "required": ["amount", "currency"],
            "properties": {
                "amount": {"type": "number", "minimum": 0, "multipleOf": 0.01},
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            },
        },
        "Line": {
            "type": "object",
            "required": ["sku"],
            "properties": {
                "sku": {"type": "string", "minLength": 1},
                "price": {"$ref": "#/$defs/Money"},
            },
        },
    },
}
EXAMPLE: Json = {
    "orderId": "0190f2c6-7f4e-7cc1-8a6d-0d6a3f0b7e11",
    "total": {"amount": 12.5, "currency": "EUR"},
    "lines": [{"sku": "A-1"}],
}


def told(said: Json) -> set[tuple[str, str]]:
    """Errors and warnings of the parser, with where they are."""
    diagnostics = [one for one in said["diagnostics"] if one["severity"] <= 1]
    return {(one["message"], "/".join(map(str, one["path"]))) for one in diagnostics}


def put(platform: Platform, type_: str, channels: list[str], **fields: object) -> None:
    body = {"channels": channels, "schema": {"type": "object"}, "enforcement": "off", **fields}
    platform.ask("PUT", f"/v1/event-types/{type_}", body, 201)


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[Platform]:
    """A service with every feature of the document, on a database of its own."""
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        settings = Settings(
            database_url=url,
            kafka_servers=(
                KafkaServer("kafka-1.example.com:9093", "kafka-secure"),
                KafkaServer("kafka-2.example.com:9092"),
            ),
            topic_prefix="shop.",
        )
        with TestClient(create_app(settings), raise_server_exceptions=False) as http:
            http.headers["Content-Type"] = "application/json"
            platform = Platform(http, database, url)
            put(
                platform,
                "order.created",
                ["orders", "orders.audit"],
                schema=WHOLE,
                example=EXAMPLE,
                owner="checkout",
                description="An order.\n\nMade by a <customer>.",
                deprecation={"date": "2027-03-01", "successor": "order.created.v2"},
            )
            put(platform, "order.created.v2", ["orders"], description="", enforcement="report")
            put(platform, "anything", ["hooks.only"], schema=True)
            put(platform, "nothing", ["hooks.only"], schema=False)
            database.execute(
                """
                update outbox.subscription set channels = '{orders,orders.audit}'
                where name = 'kafka'
                """
            )
            yield platform


@pytest.fixture(scope="module")
def document(shop: Platform) -> Json:
    made: Json = shop.ask("GET", ASYNCAPI)
    return made


@pytest.fixture(scope="module")
def parse() -> Iterator[Callable[[Json], Json]]:
    """AsyncAPI's own parser."""
    node, _ = required("node"), required("npm")
    command = [node, "--eval", PARSE, "--", str(PARSER.provide() / "browser/index.js")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parser:
        assert parser.stdin is not None
        assert parser.stdout is not None
        lines, answers = parser.stdin, parser.stdout

        def parsed(document: Json) -> Json:
            lines.write(json.dumps(document) + "\n")
            lines.flush()
            said: Json = json.loads(answers.readline())
            return said

        yield parsed


def test_the_document_is_one_by_asyncapis_own_schema(document: Json) -> None:
    required("npm")
    specification = json.loads((SPECS.provide() / "schemas/3.0.0.json").read_bytes())
    validator = jsonschema_rs.validator_for(specification)
    assert [str(one)[:500] for one in validator.iter_errors(document)] == []
    # It can fail.
    broken = {**document, "operations": {"send": {"action": "shout"}}}
    assert not validator.is_valid(broken)


@pytest.mark.long
def test_the_document_is_read_by_asyncapis_own_parser(
    document: Json, parse: Callable[[Json], Json]
) -> None:
    said = parse(document)
    assert told(said) == set()
    assert sorted(said["channels"]) == ["hooks.only", "orders", "orders.audit"]
    # References are followed, those from one schema into itself among them.
    money = said["payloads"]["order.created"]["properties"]["total"]
    assert money["properties"]["currency"]["pattern"] == "^[A-Z]{3}$"
    for headers in said["headers"]:
        assert {"ce_type", "ce_id", "idempotency-key"} <= set(headers["properties"])
    broken = json.loads(json.dumps(document).replace("/$defs/Money", "/$defs/Nothing"))
    assert told(parse(broken))


def test_each_channel_has_its_types_and_its_topic(document: Json) -> None:
    channels = document["channels"]
    assert set(channels) == {"orders", "orders.audit", "hooks.only"}
    assert set(channels["orders"]["messages"]) == {"order.created", "order.created.v2"}
    topics = {
        name: one.get("bindings") and one["bindings"]["kafka"]["topic"]
        for name, one in channels.items()
    }
    assert topics == {
        "orders": "shop.orders",
        "orders.audit": "shop.orders.audit",
        "hooks.only": None,
    }
    assert channels["hooks.only"]["servers"] == [{"$ref": "#/servers/webhooks"}]
    servers = [(one["host"], one["protocol"]) for one in document["servers"].values()]
    assert servers == [
        ("kafka-1.example.com:9093", "kafka-secure"),
        ("kafka-2.example.com:9092", "kafka"),
        ("{endpoint}", "https"),
    ]
    assert {one["action"] for one in document["operations"].values()} == {"send"}


def test_each_message_has_its_schema_example_owner_and_end(document: Json) -> None:
    message = document["components"]["messages"]["order.created"]
    assert message["examples"] == [{"name": "example", "payload": EXAMPLE}]
    assert (message["x-owner"], message["x-version"]) == ("checkout", 1)
    assert message["x-deprecation"] == {"date": "2027-03-01", "successor": "order.created.v2"}
    assert message["summary"] == "An order."
    schema = document["components"]["schemas"]["order.created"]
    money = {"$ref": "#/components/schemas/order.created/$defs/Money"}
    assert schema["properties"]["total"] == money
    assert schema["properties"]["lines"]["items"]["$ref"].endswith("/$defs/Line")
    assert schema["properties"]["pair"]["prefixItems"][1] == money
    assert schema["properties"]["paid"]["oneOf"][1] == money
    assert schema["$defs"]["Line"]["properties"]["price"] == money


def test_the_example_fits_the_schema_in_the_document(document: Json) -> None:
    schema = {**document, "$ref": "#/components/schemas/order.created"}
    validator = jsonschema_rs.Draft202012Validator(schema)
    assert [str(one) for one in validator.iter_errors(EXAMPLE)] == []
    assert not validator.is_valid({**EXAMPLE, "total": {"amount": -1, "currency": "EUR"}})


def test_an_empty_catalogue_has_a_document(
    client: TestClient, database: psycopg.Connection[Any], parse: Callable[[Json], Json]
) -> None:
    empty = Platform(client, database, "").ask("GET", ASYNCAPI)
    assert (empty["channels"], empty["operations"]) == ({}, {})
    assert told(parse(empty)) == set()


def test_one_channel_is_asked_for_by_its_name(shop: Platform) -> None:
    one = shop.ask("GET", f"{ASYNCAPI}?channelId=hooks.only")
    assert set(one["components"]["messages"]) == {"anything", "nothing"}
    assert shop.field("GET", f"{ASYNCAPI}?channelId=a/b", None) == "channelId"


def test_a_change_is_in_the_next_document_and_no_change_makes_none(platform: Platform) -> None:
    channel, type_ = platform.name("c"), platform.name("t")
    put(platform, type_, [channel], owner="a")
    url = f"{ASYNCAPI}?channelId={channel}"
    first = platform.send("GET", url)
    assert platform.send("GET", url).content == first.content
    body = {"channels": [channel], "schema": {"type": "object"}, "enforcement": "off", "owner": "b"}
    platform.ask("PUT", f"/v1/event-types/{type_}", body)
    assert platform.ask("GET", url)["components"]["messages"][type_]["x-owner"] == "b"
    platform.ask("DELETE", f"/v1/event-types/{type_}", status=204)
    assert platform.ask("GET", url)["channels"] == {}


def test_a_limited_key_sees_its_own_channels_alone(limited: Limited) -> None:
    platform, own = limited.platform, f"{limited.prefix}.orders"
    both, mine = platform.name("both"), platform.name("mine")
    put(platform, both, [own, "orders"])
    put(platform, mine, [own])
    answer = limited.send("GET", ASYNCAPI)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["channels"]) == {own}
    assert set(answer.json()["components"]["messages"]) == {mine}
    assert both in platform.ask("GET", ASYNCAPI)["components"]["messages"]


@pytest.mark.parametrize("scope", SCOPES)
def test_reading_it_takes_the_scope_read(platform: Platform, scope: Any) -> None:
    status = platform.send("GET", ASYNCAPI, None, platform.key(scope)).status_code
    assert status == (200 if scope == "read" else 403)


def test_what_only_looks_like_a_reference_is_left_out(
    platform: Platform, parse: Callable[[Json], Json]
) -> None:
    type_, value = platform.name("t"), {"a": [{"$ref": "file:///etc/hostname"}]}
    put(platform, type_, [type_], schema={"const": value, "title": "t"}, example=value)
    document = platform.ask("GET", f"{ASYNCAPI}?channelId={type_}")
    assert document["components"]["schemas"] == {type_: {"title": "t"}}
    assert "examples" not in document["components"]["messages"][type_]
    assert told(parse(document)) == set()


def test_a_catalogue_that_is_too_large_is_asked_for_by_channel(
    client: TestClient, database: psycopg.Connection[Any]
) -> None:
    platform, large = Platform(client, database, ""), "x" * 60_000
    for number in range(68):
        put(platform, f"t{number}", [f"c{number}"], schema={"const": large}, example=large)
    answer = platform.send("GET", ASYNCAPI)
    assert (answer.status_code, answer.json()["field"]) == (422, "channelId")
    assert set(platform.ask("GET", f"{ASYNCAPI}?channelId=c67")["channels"]) == {"c67"}
