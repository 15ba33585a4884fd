"""The page of a connector that takes messages in, and what leads to it."""

from tests.service.api import Json, Platform
from tests.service.console.visiting import Visitor
from tests.service.platform.test_inward_dead_letters import connector, letter


def address(made: Json, step: str = "") -> str:
    return f"/console/connectors/{made['id']}{step}"


def test_the_audit_and_the_overview_lead_to_it_and_it_says_how_it_does(console: Platform) -> None:
    made = connector(console)
    letter(console, made)
    operator = Visitor(console, console.key("read", "operate"))
    for path, text in (
        ("/console/audit", made["name"]),
        ("/console", f"{made['name']}: 1 of what came could not enter"),
    ):
        led = operator.get(operator.see(path).links[text])
        assert (led.status_code, led.headers["location"]) == (303, address(made))
    shown = operator.see(address(made)).text
    assert "takes messages in on" in shown
    assert "Dead letters 1 could not enter" in shown
    assert "shop.orders" in shown
    assert f"outbox-relay connectors dead-letters {made['name']}" in shown


def test_it_is_paused_and_goes_on(console: Platform) -> None:
    made = connector(console)
    operator = Visitor(console, console.key("read", "operate"))
    assert "is paused. Nothing is lost." in operator.step(address(made, "/pause")).text
    assert console.ask("GET", f"/v1/connectors/{made['id']}")["paused"]
    assert "goes on where it stood" in operator.step(address(made, "/resume")).text
    assert not console.ask("GET", f"/v1/connectors/{made['id']}")["paused"]


def test_what_a_key_may_not_is_not_offered_and_refused(console: Platform) -> None:
    made = connector(console)
    reader = Visitor(console, console.key("read", "manage"))
    assert "Pause" not in reader.see(address(made)).text
    assert reader.post(address(made, "/pause")).status_code == 403
    limited = Visitor(console, console.key("read", "operate", channels=[made["channelId"]]))
    for path in (address(made), f"/console/subscriptions/{made['id']}"):
        limited.see(path, 404)
    assert limited.post(address(made, "/pause")).status_code == 404


def test_one_that_sends_out_is_shown_as_the_subscription_that_it_is(console: Platform) -> None:
    form = {
        "name": console.name(),
        "channelId": console.name("c"),
        "type": "kafka",
        "config": {"brokers": "b-1.example.com:9092"},
    }
    made = console.ask("POST", "/v1/connectors", form, 201)
    visitor = Visitor(console, console.key("read"))
    led = visitor.get(address(made))
    assert (led.status_code, led.headers["location"]) == (
        303,
        f"/console/subscriptions/{made['id']}",
    )
    assert "b-1.example.com:9092" in visitor.see(led.headers["location"]).text


def test_what_was_deleted_is_no_link_in_the_audit(console: Platform) -> None:
    made = connector(console)
    console.ask("DELETE", f"/v1/connectors/{made['id']}", None, 204)
    shown = Visitor(console, console.key("read")).get("/console/audit").text
    row = next(one for one in shown.split("<tr>") if "connector.delete" in one)
    assert made["name"] in row
    assert "<a" not in row
