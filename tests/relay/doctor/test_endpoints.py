"""Where endpoints lead, and which fail or hold up groups, is told."""

import threading

import pytest

from relay.database import Connection
from relay.doctor import endpoints
from tests.relay.doctor.examining import findings, subscribe
from tests.relay.operating import settings


@pytest.mark.parametrize(
    ("endpoint", "allowed", "told"),
    [
        ("https://127.0.0.1/in", "", "127.0.0.1 is not public"),
        ("https://localhost:8443/in", "", "is not public"),
        ("https://[::1]/in", "", "::1 is not public"),
        ("https://nobody.invalid/in", "", "nobody.invalid does not resolve"),
        ("http://1.1.1.1/in", "", "every host on the way can read it"),
        ("http://127.0.0.1:8080/in", "127.0.0.0/8", None),
        ("https://1.1.1.1/in", "", None),
    ],
)
def test_where_an_endpoint_leads_is_told(endpoint: str, allowed: str, told: str | None) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    found = [endpoints.Endpoint("billing", endpoint)]
    (finding,) = endpoints.look_up(found, settings(url, RELAY_ALLOW_NETWORKS=allowed))
    assert finding.level == ("ok" if told is None else "warning")
    assert (told or "") in finding.text


def test_a_name_whose_look_up_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        answered.wait(10)
        return []

    monkeypatch.setattr(endpoints, "LOOK_UP_SECONDS", 0.01)
    monkeypatch.setattr("socket.getaddrinfo", hang)
    found = [endpoints.Endpoint("billing", "https://slow.example.com/")]
    (finding,) = endpoints.look_up(found, settings("postgresql://nobody@127.0.0.1:1/none"))
    answered.set()
    assert "did not resolve in time" in finding.text


def test_endpoints_that_fail_or_hold_groups_up_are_warnings(
    relay_url: str, connection: Connection
) -> None:
    subscribe(connection, "https://1.1.1.1/in")
    connection.execute(
        "update outbox.breaker set failing_since = clock_timestamp() - interval '2 hours'"
    )
    connection.execute(
        "insert into outbox.delivery (cursor_id, message_id, group_key, due_at)"
        " select min(id), 1, 'g', 'infinity' from outbox.cursor where subscription_id <> 1"
    )
    by_what = {one.what: one for one in findings(relay_url)}
    assert by_what["endpoints"].level == "ok"
    assert (by_what["breaker"].level, "2h 0m" in by_what["breaker"].text) == ("warning", True)
    assert (by_what["parked"].level, "1 groups of billing" in by_what["parked"].text) == (
        "warning",
        True,
    )
