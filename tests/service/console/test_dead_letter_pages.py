"""The pages of dead letters: found by what is known of them, read, and sent again."""

import pytest

from service.console.pages.payload import MAX_SHOWN_CHARACTERS, written
from tests.service.api import Json, Platform
from tests.service.console.visiting import Visitor

ADDRESS = "/console/dead-letters"
MANY = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
         content_type, payload, created_at, reason, detail, attempts)
    select subscription_id, cursor.id, nextval('dead_message'), 3, 'c', 'paid', 'key',
           'application/json', '1', clock_timestamp(), 'http_500', '', 9
    from outbox.cursor cross join generate_series(1, 10000)
    where subscription_id = %s and priority = 3 and shard = 0
"""


@pytest.fixture
def operator(console: Platform) -> Visitor:
    return Visitor(console, console.key("read", "manage", "payloads"))


def of(subscription: Json, **more: str) -> str:
    """The list of one subscription's, with further filters."""
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"{ADDRESS}?subscriptionId={subscription['id']}{rest}"


def test_they_are_found_by_reason_type_and_time(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    console.dead_letter(made["id"], type="order.paid", reason="http_500")
    console.dead_letter(made["id"], type="order.sent", reason="timeout")
    both = {"order.paid", "order.sent"}

    def shown(**filters: str) -> set[str]:
        text = operator.see(of(made, **filters)).text
        return {type for type in both if type in text}

    assert shown() == both
    assert shown(type="order.sent") - {"order.sent"} == set()
    assert shown(reason="http_500") == {"order.paid"}
    assert shown(**{"from": "2026-01-01T00:00", "to": ""}) == both
    assert shown(to="2026-01-01T00:00:00") == set()
    assert shown(state="delivered") == set()
    assert "No dead letter is like that" in operator.see(of(made, reason="nope")).text
    operator.see(of(made, state="nope"), 422)


def test_one_some_and_all_are_redriven_and_it_is_told(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    ids = [console.dead_letter(made["id"]) for _ in range(4)]
    other = console.dead_letter(made["id"], reason="timeout")
    one = operator.step(f"{ADDRESS}/redrive", ids=ids[0], then=f"{ADDRESS}/{ids[0]}")
    assert "1 dead letter is on the way again" in one.text
    assert "redriven, on its way again" in one.text
    again = operator.step(f"{ADDRESS}/redrive", ids=ids[0], then=of(made))
    assert "Nothing was redriven" in again.text
    some = operator.step(f"{ADDRESS}/redrive", ids=ids[1:3], then=of(made))
    assert "2 dead letters are on the way again" in some.text
    none = operator.step(f"{ADDRESS}/redrive", then=of(made))
    assert "No dead letter was chosen" in none.text
    rest = operator.step(f"{ADDRESS}/redrive-all", subscriptionId=made["id"], reason="http_500")
    assert "1 dead letter is on the way again" in rest.text
    dead = console.ask("GET", f"/v1{of(made, state='dead').removeprefix('/console')}")["items"]
    assert [item["id"] for item in dead] == [other]


def test_ten_thousand_are_shown_a_page_at_a_time_and_redriven_at_once(
    console: Platform, operator: Visitor
) -> None:
    made = console.subscription()
    console.database.execute(MANY, [int(made["id"])])
    console.dead_letter(made["id"])
    first = operator.see(of(made))
    boxes = [given for tag, given in first.tags if given.get("type") == "checkbox"]
    assert len(boxes) == 50
    more = operator.see(first.links["Further on"])
    assert "From the beginning" in more.links
    assert "10,000+" in operator.see(f"/console/subscriptions/{made['id']}").text
    shown = operator.step(f"{ADDRESS}/redrive-all", subscriptionId=made["id"])
    assert "10,000 dead letters are on the way again" in shown.text
    assert "More of them wait" in shown.text


def test_markup_in_a_payload_is_text(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    hostile = '{"a": "<script>document.title = \'taken\'</script>"}'
    id_ = console.dead_letter(made["id"], payload=hostile, detail="<img src=x>", type="<i>")
    shown = operator.see(f"{ADDRESS}/{id_}")
    assert "<script>document.title = 'taken'</script>" in shown.text
    scripts = [given for tag, given in shown.tags if tag == "script"]
    assert [given["src"] is not None for given in scripts] == [True]
    assert not [tag for tag, _ in shown.tags if tag in ("i", "b")]


def test_what_a_key_may_not_see_or_do_is_not_there(console: Platform) -> None:
    made = console.subscription()
    id_ = console.dead_letter(made["id"], payload='{"secret": 1}')
    reader = Visitor(console, console.key("read", "manage"))
    shown = reader.see(f"{ADDRESS}/{id_}")
    assert "secret" not in shown.text
    assert "it takes a key with the scope payloads" in shown.text
    reader = Visitor(console, console.key("read", "payloads"))
    shown = reader.see(f"{ADDRESS}/{id_}")
    assert "secret" in shown.text
    assert "Redrive" not in shown.text
    assert "Redrive" not in reader.see(of(made)).text
    for step in ("redrive", "redrive-all"):
        answer = reader.post(f"{ADDRESS}/{step}", ids=id_, subscriptionId=made["id"])
        assert answer.status_code == 403
    stranger = Visitor(console, console.key("read", "manage", channels=["elsewhere"]))
    assert "There is no dead letter" in stranger.see(ADDRESS).text
    stranger.see(f"{ADDRESS}/{id_}", 404)
    answer = stranger.post(f"{ADDRESS}/redrive", ids=id_)
    assert answer.status_code == 422


def test_a_payload_is_shown_as_what_it_is_and_never_longer_than_a_page() -> None:
    assert written(b'{"b":1.50,"a":[]}').text == '{\n  "b": 1.50,\n  "a": []\n}'
    assert written("grün".encode()) == ("grün", 5, True, False)
    assert written(bytes(range(250, 256)) * 2).text == "fa fb fc fd fe ff fa fb fc fd fe ff"
    for long in (b"1" * 900_000, b"\xff" * 900_000, b"[" * 9000 + b"]" * 9000):
        shown = written(long)
        assert len(shown.text) <= MAX_SHOWN_CHARACTERS
        assert shown.bytes == len(long)
    # Each of its lines would be indented by a thousand levels.
    assert written(b"[" * 900 + b"1," * 7000 + b"1" + b"]" * 900).is_cut
