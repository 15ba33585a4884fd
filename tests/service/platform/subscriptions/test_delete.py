"""DELETE of a subscription: what is undelivered stands in its way."""

import pytest

from tests.service.api import Platform, path


def test_dead_letters_stand_in_the_way_of_a_delete_unless_they_are_discarded(
    platform: Platform,
) -> None:
    made = platform.subscription()
    dead_letter = platform.dead_letter(made["id"])
    answer = platform.send("DELETE", path(made))
    assert (answer.status_code, answer.json()["field"]) == (409, "discardUndelivered")
    assert platform.ask("GET", path(made))["counts"]["deadLetters"] == 1
    # On its way again, but not delivered: still waited for.
    platform.ask("POST", "/v1/dead-letters/redrive", {"ids": [dead_letter]})
    assert platform.send("DELETE", path(made)).status_code == 409
    platform.ask("DELETE", path(made) + "?discardUndelivered=true", status=204)
    assert platform.send("GET", path(made)).status_code == 404
    assert platform.send("DELETE", path(made)).status_code == 404


@pytest.mark.parametrize("step", ["/v1/messages", "/test"])
def test_undelivered_messages_stand_in_the_way_of_a_delete_unless_they_are_discarded(
    platform: Platform, step: str
) -> None:
    """Unread ones and those with a row of their own."""
    made = platform.subscription()
    if step == "/test":
        platform.ask("POST", path(made, step), status=202)
    else:
        body = {"channelId": made["channelId"], "type": "t", "payload": 1}
        platform.ask("POST", step, body, 201)
    answer = platform.send("DELETE", path(made))
    assert (answer.status_code, answer.json()["field"]) == (409, "discardUndelivered")
    platform.ask("DELETE", path(made) + "?discardUndelivered=true", status=204)


def test_what_others_published_does_not_stand_in_the_way_of_a_delete(platform: Platform) -> None:
    made = platform.subscription()
    platform.database.execute(
        "insert into outbox.message (channel, type, payload)"
        " select 'noise', 'tick', '{}' from generate_series(1, 3000)"
    )
    platform.ask("DELETE", path(made), status=204)


def test_a_subscription_with_nothing_to_deliver_is_deleted(platform: Platform) -> None:
    platform.ask("DELETE", path(platform.subscription()), status=204)
