"""A run sends while no other relay can hold its cursor; what that took too long for is told."""

import time
from types import SimpleNamespace

import psycopg
import pytest
from structlog.testing import capture_logs

from relay.push import runs
from relay.push.lease import Lease
from tests.receiver import respond
from tests.relay.push.stage import PushRelay, PushStage
from tests.sql.log import one

LONG_SECONDS = 60.0
END_HOLDER = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where application_name ~ '^outbox-relay .* cursor [0-9]+$' and datname = current_database()
"""
FAULTS = "outbox_relay_faults_total"


@pytest.fixture
def slow_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run began long ago."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() - LONG_SECONDS)
    monkeypatch.setattr(runs, "time", clock)


def lease_over(relay: PushRelay) -> float | None:
    labels = {"subscription": "billing", "kind": "lease_over"}
    return relay.telemetry.registry.get_sample_value(FAULTS, labels)


@pytest.mark.usefixtures("slow_claim")
def test_after_a_slow_claim_a_run_has_its_whole_time_to_send(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "b:1")
    relay.round()
    assert (sorted(stage.keys()), stage.rows()) == (["a:1", "b:1"], [])
    assert lease_over(relay) is None


@pytest.mark.usefixtures("slow_claim")
def test_a_run_whose_session_has_ended_meanwhile_sends_nothing(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another relay may hold its cursor by now."""
    stage.subscribe()
    stage.receiver.react = respond(503)
    stage.publish("a:1")
    relay.round()
    renew = Lease.renew

    def renew_too_late(lease: Lease) -> None:
        assert one(stage.db, END_HOLDER)
        renew(lease)

    monkeypatch.setattr(Lease, "renew", renew_too_late)
    with pytest.raises(psycopg.OperationalError):
        relay.round()
    assert stage.keys() == ["a:1"]


def test_runs_that_come_to_no_request_in_time_are_counted_and_told_once_in_a_while(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lease, "ends_at", 0.0)
    stage.subscribe()
    stage.publish("a:1", "b:1")
    with capture_logs() as lines:
        for _ in range(3):
            relay.round()
    assert (stage.keys(), stage.rows(), lease_over(relay)) == ([], [], 3)
    told = [line for line in lines if line["event"] == "lease_over"]
    assert [line["subscription"] for line in told] == ["billing"]


def test_a_run_that_sends_some_of_its_messages_in_time_is_no_fault(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter([time.monotonic() + LONG_SECONDS])
    monkeypatch.setattr(Lease, "ends_at", property(lambda self: next(ends, 0.0)))
    stage.subscribe()
    stage.publish("a:1", "b:1")
    relay.round()
    assert (stage.keys(), lease_over(relay)) == (["a:1"], None)
