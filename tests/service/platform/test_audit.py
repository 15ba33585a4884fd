"""Every change that a key makes is noted with it: who, what, on what, when."""

from typing import Any

import pytest

from service.platform.api import TABLE
from service.web.access.keys import SCOPES, Scope
from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, Json, Platform, path
from tests.service.platform.limited import Limited
from tests.service.platform.test_inward_dead_letters import LETTERS, connector, letter

CONNECTORS = "/v1/connectors"
# They change nothing but the log, which says itself what came from whom; or nothing at all.
NOT_NOTED = {
    "/v1/messages",
    "/v1/messages/transactional",
    "/v1/event-types/{type}/validate",
}


class Changes:
    """Asks for changes, and remembers which operations these were."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.done: set[tuple[str, str]] = set()
        self._before = self._count()

    def _count(self) -> int:
        return len(self.platform.walk("/v1/audit?", 200))

    def ask(self, method: str, template: str, body: object = None, **ids: str) -> Any:
        self.done.add((method, template))
        answer = self.platform.send(method, template.format(**ids), body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def new(self) -> list[tuple[str, str, str]]:
        """What was noted since this was asked last: action, subject, summary."""
        items = self.platform.walk("/v1/audit?", 200)
        items = items[: len(items) - self._before]
        self._before = self._count()
        assert {item["byConsole"] for item in items} == {False}
        return [(item["action"], item["subject"], item["summary"]) for item in reversed(items)]


def test_every_operation_that_changes_something_is_noted(platform: Platform) -> None:
    changes, name = Changes(platform), platform.name()
    of_one = "/v1/subscriptions/{id}"
    form = {"channelId": "c", "endpoint": "https://h.example/secret-token", "name": name}
    id_ = changes.ask("POST", SUBSCRIPTIONS, form)["id"]
    platform.ask("POST", "/v1/messages", {"channelId": "c", "type": "t", "payload": 1}, 201)
    new_endpoint = {"endpoint": "https://h.example/other", "concurrency": 3}
    changes.ask("PATCH", of_one, new_endpoint, id=id_)
    for step in ("pause", "resume", "retry", "rotate-secret"):
        body: Json | None = {} if step in ("retry", "rotate-secret") else None
        changes.ask("POST", f"{of_one}/{step}", body, id=id_)
    sent = changes.ask("POST", f"{of_one}/test", id=id_)["messageId"]
    since = {"from": "2020-01-01T00:00:00Z"}
    platform.ask("POST", f"{SUBSCRIPTIONS}/{id_}/replay", {**since, "dryRun": True})
    changes.ask("POST", f"{of_one}/replay", since, id=id_)
    dead = platform.dead_letter(id_)
    changes.ask("POST", f"{DEAD_LETTERS}/redrive", {"ids": [dead]})
    platform.ask("POST", f"{DEAD_LETTERS}/redrive", {"subscriptionId": id_})
    changes.ask("DELETE", f"{of_one}?discardUndelivered=true", id=id_)
    changes.done.add(("DELETE", of_one))
    of_endpoint = [
        ("subscription.create", name, "channelId, endpoint, name"),
        ("subscription.change", name, "concurrency, endpoint"),
        ("subscription.pause", name, ""),
        ("subscription.resume", name, ""),
        ("subscription.retry", name, "0 messages"),
        ("subscription.rotate_secret", name, "the old one revoked after a day"),
        ("subscription.test", name, f"message {sent}"),
        ("subscription.replay", name, "1 messages from 2020-01-01 00:00:00+00:00"),
        ("dead_letter.redrive", name, f"1 redriven: {dead}"),
        ("dead_letter.redrive", name, "0 redriven"),
        ("subscription.delete", name, "discardUndelivered"),
    ]
    noted = changes.new()
    assert noted == of_endpoint
    assert "secret-token" not in str(noted)
    _change_the_rest(changes)
    wanted = {
        (operation.method, operation.path)
        for operation in TABLE
        if operation.method != "GET" and operation.path not in NOT_NOTED
    }
    assert wanted == {one for one in changes.done if "?" not in one[1]}


def _change_the_rest(changes: Changes) -> None:
    """Connectors out and in, what could not enter, event types: all that is noted is named."""
    platform, of_one = changes.platform, f"{CONNECTORS}/{{id}}"
    config = {"brokers": "b-1.example.com:9092"}
    out = {"name": platform.name(), "channelId": "c", "type": "kafka", "config": config}
    id_ = changes.ask("POST", CONNECTORS, out)["id"]
    changes.ask("PATCH", of_one, {"types": ["t"]}, id=id_)
    for step in ("pause", "resume", "test"):
        changes.ask("POST", f"{of_one}/{step}", id=id_)
    changes.ask("POST", f"{of_one}/replay", {"fromMessageId": "1"}, id=id_)
    changes.ask("DELETE", f"{of_one}?discardUndelivered=true", id=id_)
    changes.done.add(("DELETE", of_one))
    source = connector(platform)
    changes.ask("POST", f"{of_one}/seek", {"from": "latest"}, id=source["id"])
    one, other = letter(platform, source), letter(platform, source)
    changes.ask("POST", f"{LETTERS}/redrive", {"ids": [one]})
    changes.ask("POST", f"{LETTERS}/discard", {"ids": [one, other]})
    platform.ask("DELETE", f"{CONNECTORS}/{source['id']}", None, 204)
    schema = {"channels": ["c"], "schema": {"type": "object"}, "enforcement": "off"}
    changes.ask("PUT", "/v1/event-types/{type}", schema, type="audited")
    changes.ask("DELETE", "/v1/event-types/{type}", type="audited")
    actions = [(action, subject) for action, subject, _ in changes.new()]
    own = ("create", "change", "pause", "resume", "test", "replay", "delete")
    assert actions == [
        *((f"connector.{verb}", out["name"]) for verb in own),
        ("connector.create", source["name"]),
        ("connector.seek", source["name"]),
        ("inward_dead_letter.redrive", "dead letters of connectors"),
        ("inward_dead_letter.discard", "dead letters of connectors"),
        ("connector.delete", source["name"]),
        ("event_type.register", "audited"),
        ("event_type.delete", "audited"),
    ]


def test_what_was_refused_is_not_noted(platform: Platform) -> None:
    made = platform.subscription()
    before = len(platform.walk("/v1/audit?", 200))
    for method, where, body, status in (
        ("POST", path(made, "/replay"), {"fromMessageId": "999999999"}, 422),
        ("PATCH", path(made), {"name": "kafka"}, 409),
        ("DELETE", f"{SUBSCRIPTIONS}/999999999", None, 404),
        ("POST", f"{DEAD_LETTERS}/redrive", {"ids": ["999999999"]}, 422),
    ):
        assert platform.send(method, where, body).status_code == status
    assert len(platform.walk("/v1/audit?", 200)) == before


def test_a_limited_key_sees_what_keys_of_its_name_did(limited: Limited) -> None:
    platform = limited.platform
    limited.send("POST", path(limited.mine, "/pause"))
    platform.ask("POST", path(limited.mine, "/resume"))
    [entry] = limited.items("/v1/audit")
    assert (entry["action"], entry["subject"]) == ("subscription.pause", limited.mine["name"])
    both = platform.ask("GET", f"/v1/audit?subscriptionId={limited.mine['id']}")["items"]
    assert [item["action"].split(".")[1] for item in both] == ["resume", "pause", "create"]
    assert len({item["keyName"] for item in both}) == 2


def test_it_is_for_keys_that_may_read(platform: Platform) -> None:
    for scope in SCOPES:
        answer = platform.send("GET", "/v1/audit", headers=platform.key(scope))
        assert answer.status_code == (200 if scope == "read" else 403)


KEEP = "select outbox.trim_audit(%s, %s, 1000)"


@pytest.mark.parametrize(("days", "at_most", "kept"), [(30, 1000, 9), (10, 1000, 6), (30, 3, 4)])
def test_it_is_kept_for_its_time_and_of_one_name_only_so_much(
    platform: Platform, days: int, at_most: int, kept: int
) -> None:
    noisy, other = platform.name(), platform.name()
    with platform.database.transaction(force_rollback=True):
        platform.database.execute("delete from outbox.audit")
        for name, days_ago in [(noisy, age) for age in range(0, 16, 2)] + [(other, 0)]:
            platform.database.execute(
                """
                insert into outbox.audit (at, api_key_id, key_name, by_console, action, subject)
                select clock_timestamp() - make_interval(days => %s), 1, %s, false, 'a.b', ''
                """,
                [days_ago, name],
            )
        platform.database.execute(
            "update outbox.api_key set name = %s where id = (select min(id) from outbox.api_key)",
            [noisy],
        )
        platform.database.execute(KEEP, [days, at_most])
        assert platform.database.execute("select count(*) from outbox.audit").fetchone() == (kept,)


def payload_of(platform: Platform, headers: dict[str, str], dead: str) -> Json:
    answer = platform.send("GET", f"{DEAD_LETTERS}/{dead}", headers=headers)
    assert answer.status_code == 200
    shown: Json = answer.json()
    return shown


def test_what_a_dead_letter_holds_takes_the_scope_payloads(platform: Platform) -> None:
    dead = platform.dead_letter(platform.subscription()["id"])
    with_scope = payload_of(platform, platform.key("read", "payloads"), dead)
    assert (with_scope["payload"], with_scope["headers"]) == ({"a": 1}, {"x": "y"})
    assert "withheld" not in with_scope
    without = payload_of(platform, platform.key("read", "operate", "publish"), dead)
    assert without["withheld"] == "Left out: it takes a key with the scope payloads."
    assert not {"payload", "payloadBase64", "headers"} & set(without)
    assert {**without, "withheld": 0} == {
        name: 0 if name == "withheld" else with_scope[name] for name in without
    }


def test_what_could_not_enter_takes_the_scope_payloads(platform: Platform) -> None:
    held = letter(platform, connector(platform))
    scope: Scope
    for scope, is_shown in (("payloads", True), ("operate", False)):
        key = platform.key("read", scope)
        shown = platform.send("GET", f"{LETTERS}/{held}", headers=key).json()
        assert ("valueBase64" in shown, "headers" in shown) == (is_shown, is_shown)
        assert ("withheld" in shown) is not is_shown


def test_what_an_endpoint_answered_takes_the_scope_payloads(platform: Platform) -> None:
    made = platform.subscription()
    platform.database.execute(
        """
        insert into outbox.attempt_log
            (subscription_id, message_id, duration_seconds, number, status, idempotency_key, relay,
             error, detail, answer)
        values (%s, 1, 0.1, 1, 500, 'k', 'r', 'http_500', 'answered 500', 'no such order'),
               (%s, 2, 0.1, 1, null, 'k', 'r', 'connect', 'refused', null)
        """,
        [int(made["id"]), int(made["id"])],
    )
    where = f"/v1/attempts?subscriptionId={made['id']}"
    shown = platform.send("GET", where, headers=platform.key("read", "payloads")).json()["items"]
    assert [(one["answer"], "withheld" in one, one["detail"]) for one in shown] == [
        (None, False, None),
        ("no such order", False, None),
    ]
    left = platform.send("GET", where, headers=platform.key("read", "manage")).json()["items"]
    assert [(one["answer"], "withheld" in one, one["detail"]) for one in left] == [
        (None, False, "refused"),
        (None, True, "answered 500"),
    ]
