"""A refusal is an exception that carries the fields of its problem."""

import pickle

import pytest

from outbox_client import (
    Conflict,
    Forbidden,
    NotFound,
    Outbox,
    Problem,
    Unauthorized,
    Unprocessable,
)
from service.platform import keys
from tests.client.script import Answer, Script
from tests.client.service import Service


def test_what_does_not_fit_names_the_field(outbox: Outbox) -> None:
    with pytest.raises(Unprocessable) as refused:
        outbox.messages.publish(channel_id="c", type="paid", payload={}, priority=6)
    assert (refused.value.status, refused.value.field) == (422, "priority")
    assert refused.value.title == "Unprocessable Content" or refused.value.title
    assert "priority" in str(refused.value)
    assert str(refused.value).startswith("POST /v1/messages: 422 ")


def test_a_payload_that_does_not_fit_its_event_type_has_its_faults(
    service: Service, outbox: Outbox
) -> None:
    type_, channel = service.name("type"), service.name()
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    outbox.event_types.put(type_, channels=[channel], schema=schema)
    with pytest.raises(Unprocessable) as refused:
        outbox.messages.publish(channel_id=channel, type=type_, payload={"id": "8"})
    [fault] = refused.value.faults
    assert (fault.pointer, fault.keyword) == ("/payload/id", "type")


def test_a_change_that_breaks_consumers_has_its_breaks(service: Service, outbox: Outbox) -> None:
    type_, channel = service.name("type"), service.name()
    outbox.event_types.put(type_, channels=[channel], schema={"type": "object", "required": ["id"]})
    with pytest.raises(Conflict) as refused:
        outbox.event_types.put(type_, channels=[channel], schema={"type": "array"})
    assert {one.version for one in refused.value.breaks} == {1}


def test_each_kind_of_refusal_has_an_exception_of_its_own(service: Service, outbox: Outbox) -> None:
    with pytest.raises(NotFound):
        outbox.subscriptions.read("999999")
    with Outbox(service.url, "unknown") as stranger, pytest.raises(Unauthorized):
        stranger.subscriptions.read("1")
    reader = keys.create(service.database, service.name("key"), ["read"])
    with Outbox(service.url, reader) as reading, pytest.raises(Forbidden):
        reading.messages.publish(channel_id="c", type="paid", payload={})


def test_a_refusal_of_something_before_the_service_is_a_problem_too() -> None:
    html = Answer(413, b"<html>too large</html>", {"Content-Type": "text/html"})
    with (
        Script(html) as script,
        Outbox(script.url, "key") as outbox,
        pytest.raises(Problem) as refused,
    ):
        outbox.messages.publish(channel_id="c", type="paid", payload={})
    assert refused.value.status == 413
    assert "not the service's" in refused.value.detail


def test_an_exception_goes_from_process_to_process(outbox: Outbox) -> None:
    with pytest.raises(NotFound) as refused:
        outbox.subscriptions.read("999999")
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (type(copy), str(copy)) == (NotFound, str(refused.value))


def test_no_exception_and_no_repr_shows_a_secret(service: Service, outbox: Outbox) -> None:
    name = service.name()
    made = outbox.subscriptions.create(channel_id=name, endpoint="https://shop.example", name=name)
    assert made.secret not in repr(made)
    secret = outbox.subscriptions.rotate_secret(made.id)
    assert secret.secret not in repr(secret)
    with pytest.raises(NotFound) as refused:
        outbox.subscriptions.read("999999")
    assert service.key not in repr((outbox, vars(outbox), refused.value, vars(refused.value)))


@pytest.mark.parametrize(
    ("url", "key", "named"),
    [
        ("127.0.0.1:8080", "key", "url"),
        ("ftp://shop.example", "key", "url"),
        ("http://127.0.0.1:8080", "", "key"),
        ("http://127.0.0.1:8080", "key\n", "key"),
    ],
)
def test_a_url_or_a_key_that_is_none_is_refused_at_once(url: str, key: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} must"):
        Outbox(url, key)


def test_a_request_key_that_no_header_holds_is_refused_at_once(outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="request_key"):
        outbox.messages.publish(channel_id="c", type="paid", payload={}, request_key="a b")
