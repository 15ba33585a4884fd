"""What is not delivered is counted and has an age, in whatever state it waits."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from relay.database import Connection
from relay.monitoring import gauges, status
from relay.monitoring.gauges import DatabaseCollector
from relay.operate import status_text
from tests.receiver import OK, respond
from tests.relay.push.stage import LATER, NEVER_OPENS, Answers, PushRelay, PushStage
from tests.sql.log import one

AGED = "update outbox.message set created_at = created_at - interval '2 hours'"
STATES = ("unread", "untried", "retrying", "in_flight", "behind", "parked")


def gauge(relay: PushRelay, name: str, **labels: str) -> float | None:
    """What a scrape says now."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(relay.settings))
    return registry.get_sample_value(f"outbox_relay_{name}", {"subscription": "billing", **labels})


def counted(relay: PushRelay) -> dict[str, float]:
    """The states that are not empty."""
    found = {state: gauge(relay, "undelivered_messages", state=state) for state in STATES}
    return {state: number for state, number in found.items() if number}


def test_messages_that_are_retried_count_and_grow_old(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(503)
    stage.publish("a:1", "a:2", "a:3", "b:1")
    stage.db.execute(AGED)
    relay.drain()
    assert counted(relay) == {"retrying": 2, "behind": 2}
    oldest = gauge(relay, "undelivered_oldest_age_seconds")
    assert oldest is not None
    assert 7200 <= oldest < 7300


def test_messages_that_no_relay_has_read_count(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2")
    stage.publish("b:1", priority=5)
    assert counted(relay) == {"unread": 3}


def test_parked_messages_and_their_dead_letters_count(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry={"schedule_seconds": []}, on_exhausted="park")
    stage.receiver.react = answers = Answers()
    answers.give("a:1", respond(500))
    stage.publish("a:1", "a:2", "b:1")
    relay.drain()
    assert counted(relay) == {"parked": 1, "behind": 1}
    assert gauge(relay, "waiting_dead_letters") == 1
    stage.db.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
    assert gauge(relay, "waiting_dead_letters") == 0


def test_a_redriven_dead_letter_is_as_old_as_its_message_though_the_log_has_it_no_more(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry={"schedule_seconds": []})
    stage.receiver.react = respond(500)
    stage.publish("a:1")
    stage.db.execute(AGED)
    relay.drain()
    stage.db.execute("delete from outbox.message")
    stage.db.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
    oldest = gauge(relay, "undelivered_oldest_age_seconds")
    assert oldest is not None
    assert oldest >= 7200


def test_nothing_counts_where_all_is_delivered(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2", "b:1")
    relay.drain()
    assert counted(relay) == {}
    assert gauge(relay, "undelivered_oldest_age_seconds") == 0
    assert gauge(relay, "waiting_dead_letters") == 0


@pytest.mark.parametrize("status_code", [200, 503])
def test_status_says_that_everything_is_delivered_only_where_it_is(
    stage: PushStage, relay: PushRelay, status_code: int
) -> None:
    stage.subscribe(retry=LATER, breaker=NEVER_OPENS)
    stage.receiver.react = respond(status_code)
    stage.publish("a:1", "a:2", "b:1")
    relay.drain()
    now = status.read(relay.connection)
    (left,) = now.undelivered
    text = status_text.render(now)
    assert left.messages == (0 if status_code == 200 else 3)
    assert ("everything is delivered" in text) == (status_code == 200)
    assert "no backlog" not in text


def test_status_shows_a_subscription_that_was_made_while_it_looked(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    now = msgspec.structs.replace(status.read(relay.connection), undelivered=[])
    assert "billing" in status_text.render(now)


def lags(relay: PushRelay) -> tuple[float | None, float | None]:
    """How many deliveries were counted, and within a second."""
    registry = relay.telemetry.registry
    labels = {"subscription": "billing"}
    within = registry.get_sample_value("outbox_relay_lag_seconds_bucket", {**labels, "le": "1.0"})
    return registry.get_sample_value("outbox_relay_lag_seconds_count", labels), within


def test_what_was_delivered_on_a_retry_counts_with_all_its_lag(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = Answers().give("a:1", respond(503), OK)
    stage.publish("a:1", "b:1")
    stage.db.execute(AGED + " where idempotency_key = 'a:1'")
    relay.drain()
    assert lags(relay) == (1, 1)
    stage.let_time_pass()
    relay.drain()
    assert lags(relay) == (2, 1)


def count_for_ever(connection: Connection) -> list[Any]:
    connection.execute("set local statement_timeout = '10ms'")
    connection.execute("select pg_sleep(60)")
    return []


def uncounted(relay: PushRelay) -> dict[str, float | None]:
    """What a scrape says now of each part of what is undelivered."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(relay.settings))
    name = "outbox_relay_uncounted"
    parts = ("unread", "held", "dead_letters")
    return {part: registry.get_sample_value(name, {"part": part}) for part in parts}


def test_an_unread_backlog_that_takes_too_long_to_count_hides_nothing_else(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(503)
    stage.publish("a:1", "a:2")
    stage.db.execute(AGED)
    relay.drain()
    assert uncounted(relay) == {"unread": 0, "held": 0, "dead_letters": 0}
    monkeypatch.setattr(gauges, "read_backlog", count_for_ever)
    assert uncounted(relay) == {"unread": 1, "held": 0, "dead_letters": 0}
    assert counted(relay) == {"retrying": 1, "behind": 1}
    assert gauge(relay, "undelivered_messages", state="unread") is None
    oldest = gauge(relay, "undelivered_oldest_age_seconds")
    assert oldest is not None
    assert oldest >= 7200
    assert gauge(relay, "waiting_dead_letters") == 0
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(relay.settings))
    assert registry.get_sample_value("outbox_relay_maintenance_age_seconds") is not None


def test_what_is_held_and_takes_too_long_to_count_hides_nothing_else(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "read_held", count_for_ever)
    stage.subscribe()
    stage.publish("a:1")
    stage.db.execute(AGED)
    assert uncounted(relay) == {"unread": 0, "held": 1, "dead_letters": 0}
    assert counted(relay) == {"unread": 1}
    oldest = gauge(relay, "undelivered_oldest_age_seconds")
    assert oldest is not None
    assert oldest >= 7200


def test_dead_letters_that_take_too_long_to_count_hide_nothing_else(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "_dead_letters", count_for_ever)
    stage.subscribe()
    stage.publish("a:1")
    assert uncounted(relay) == {"unread": 0, "held": 0, "dead_letters": 1}
    assert counted(relay) == {"unread": 1}
    assert gauge(relay, "waiting_dead_letters") is None


@pytest.mark.parametrize("part", ["read_backlog", "read_held"])
def test_an_age_that_is_not_known_is_not_given_as_none(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    stage.subscribe()
    assert gauge(relay, "undelivered_oldest_age_seconds") == 0
    monkeypatch.setattr(gauges, part, count_for_ever)
    assert gauge(relay, "undelivered_oldest_age_seconds") is None


TIMEOUT = "select setting::integer from pg_settings where name = 'statement_timeout'"


def test_all_counts_together_leave_a_scrape_time_before_prometheus_gives_it_up(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them takes three seconds here."""
    assert gauges.ALL_SECONDS < 10
    timeouts: list[int] = []

    def note(connection: Connection) -> list[Any]:
        timeouts.append(one(connection, TIMEOUT))
        return []

    monkeypatch.setattr(
        gauges, "time", SimpleNamespace(monotonic=lambda: 100.0 + 3 * len(timeouts))
    )
    for part in ("_dead_letters", "read_held", "read_backlog"):
        monkeypatch.setattr(gauges, part, note)
    uncounted(relay)
    assert timeouts == [5000, 2000, 1000]
