"""A breaker, and who paused a subscription, are told as they stand, by whichever relay."""

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from relay.monitoring import gauges
from relay.monitoring.gauges import DatabaseCollector
from tests.receiver import OK, respond
from tests.relay.push.conftest import OpenRelay
from tests.relay.push.stage import LATER, PushRelay, PushStage

FRAIL = {"minimum": 2, "cool_down_seconds": 3600}
BY = ("operator", "relay")


def gauge(relay: PushRelay, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(relay.settings))
    return registry.get_sample_value(f"outbox_relay_{name}", {"subscription": "billing", **labels})


def paused(relay: PushRelay) -> list[str]:
    """By whom."""
    return [by for by in BY if gauge(relay, "paused", by=by)]


def test_every_relay_tells_of_a_breaker_what_one_of_them_did(
    stage: PushStage, open_relay: OpenRelay
) -> None:
    """What the other saw last would be an alert that no delivery of this one ends."""
    stage.subscribe(retry=LATER, breaker=FRAIL)
    one, other = open_relay(), open_relay()
    assert [gauge(relay, "breaker_open") for relay in (one, other)] == [0, 0]
    stage.receiver.react = respond(503)
    stage.publish("a:1", "b:1", "c:1")
    one.drain()
    assert [gauge(relay, "breaker_open") for relay in (one, other)] == [1, 1]
    stage.receiver.react = OK
    stage.cool_down()
    stage.let_time_pass()
    other.drain()
    assert [gauge(relay, "breaker_open") for relay in (one, other)] == [0, 0]


def test_whom_an_operator_has_paused_is_told_so(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    assert paused(relay) == []
    stage.db.execute("update outbox.subscription set paused = true, paused_reason = 'we move'")
    assert paused(relay) == ["operator"]
    stage.db.execute("update outbox.subscription set paused_reason = null")
    assert paused(relay) == ["operator"]


def test_an_endpoint_that_says_it_is_gone_is_paused_by_the_relay(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = respond(410)
    stage.publish("a:1")
    relay.drain()
    assert paused(relay) == ["relay"]


def test_an_endpoint_that_fails_for_five_days_is_paused_by_the_relay(
    stage: PushStage, relay: PushRelay
) -> None:
    subscription_id = stage.subscribe()
    stage.receiver.react = respond(500)
    stage.publish("a:1")
    relay.drain()
    stage.db.execute("update outbox.breaker set failing_since = failing_since - interval '6 days'")
    stage.db.execute("select outbox.disable_if_dead(%s)", [subscription_id])
    assert paused(relay) == ["relay"]


def test_a_lock_on_the_subscriptions_hides_nothing_of_maintenance(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "ALL_SECONDS", gauges.LAST_SECONDS + 0.2)
    registry = CollectorRegistry()
    with psycopg.connect(stage.database_url) as other:
        other.execute("lock table outbox.subscription in access exclusive mode")
        registry.register(DatabaseCollector(relay.settings))
        told = registry.get_sample_value("outbox_relay_maintenance_age_seconds")
    assert told is not None
