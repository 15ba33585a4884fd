"""Subscriptions have series of their own, up to a bound, and none once they are gone."""

import sys
import threading
from collections import Counter

import psycopg
import pytest

from relay.daemon import relay, retention
from relay.monitoring.subscription_labels import MAX_NEW_NAMES, OTHERS
from relay.monitoring.telemetry import MAX_LABEL_CHARACTERS, Telemetry
from relay.monitoring.waiting_channels import MAX_WAITING_CHANNELS
from tests.relay.monitoring.samples import samples
from tests.relay.operating import settings


def count_everything(telemetry: Telemetry, name: str) -> None:
    telemetry.run_done(name, messages=1, bytes=1, seconds=0.1, created_at=[1], acknowledged_at=2)
    telemetry.attempts(name, {"acked": 1, "timeout": 1}, [0.1])
    telemetry.dead(name, "timeout")
    telemetry.fault(name, "database")
    telemetry.cursor_adopted(name)
    telemetry.cursor_refused(name)


def test_subscriptions_that_are_gone_leave_no_series() -> None:
    telemetry = Telemetry()
    for number in range(50):
        count_everything(telemetry, f"s-{number}")
    telemetry.waiting({(f"s-{number}", "orders"): 1.0 for number in range(50)})
    telemetry.fault("", "database")
    before = samples(telemetry)
    telemetry.keep({"s-7", "not-seen"})
    after = samples(telemetry)
    assert {dict(labels).get("subscription") for _, labels in after} == {None, "", "s-7"}
    # And what stays is what it was.
    assert all(before[key] == value for key, value in after.items() if "s-7" in str(key))
    telemetry.waiting({("s-7", f"channel-{n}"): 1.0 for n in range(MAX_WAITING_CHANNELS + 1)})
    waiting = [name for name, _ in samples(telemetry) if name.endswith("waiting_seconds")]
    assert len(waiting) == MAX_WAITING_CHANNELS


def names_in(telemetry: Telemetry) -> dict[str | None, int]:
    """How many series each subscription has."""
    return Counter(dict(labels).get("subscription") for _, labels in samples(telemetry))


def test_however_many_names_come_between_two_rounds_the_series_are_bounded() -> None:
    telemetry = Telemetry()
    telemetry.keep({"billing"})
    for number in range(MAX_NEW_NAMES + 1000):
        count_everything(telemetry, f"s-{number}")
    count_everything(telemetry, "billing")
    names = names_in(telemetry)
    assert len(names.keys() - {None}) == MAX_NEW_NAMES + 2
    # Who was there before keeps its own.
    assert names["billing"] == names["s-0"]
    acked = (("outcome", "acked"), ("subscription", OTHERS))
    assert samples(telemetry)["outbox_relay_attempts_total", acked] == 1000


def test_after_a_round_new_names_have_room_again() -> None:
    telemetry = Telemetry()
    for number in range(MAX_NEW_NAMES + 1):
        telemetry.fault(f"s-{number}", "database")
    telemetry.keep({"s-0"})
    telemetry.fault("billing", "database")
    assert names_in(telemetry).keys() == {None, "s-0", OTHERS, "billing"}


def test_of_a_relay_that_starts_among_many_subscriptions_each_has_its_own_series(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first maintenance may take minutes."""
    names = [f"s-{number}" for number in range(MAX_NEW_NAMES + 1)]
    with psycopg.connect(database_url) as connection:
        subscribe = "insert into outbox.subscription (name) select unnest(%s::text[])"
        connection.execute(subscribe, [names])
    telemetry, stop = Telemetry(), threading.Event()

    def maintain(*_: object) -> None:
        for name in names:
            telemetry.fault(name, "database")
        stop.set()

    monkeypatch.setattr(retention, "maintain", maintain)
    relay.Relay(settings(database_url), telemetry, stop)._maintain()
    assert names_in(telemetry).keys() == {None, *names}


def test_forgetting_ten_times_as_many_names_takes_ten_times_as_many_steps() -> None:
    def steps(names: int) -> int:
        """Calls of Python functions."""
        telemetry = Telemetry()
        for number in range(names):
            count_everything(telemetry, f"s-{number}")
        calls = Counter[str]()
        sys.setprofile(lambda _, event, __: calls.update([event]))
        try:
            telemetry.keep(())
        finally:
            sys.setprofile(None)
        assert names_in(telemetry).keys() == {None}
        return calls["call"]

    assert steps(200) < 12 * steps(20)


def test_a_label_that_names_subscriptions_is_bounded() -> None:
    telemetry = Telemetry()
    telemetry.retention_blocked({"message_7": "not yet passed by " + ", ".join(["s" * 100] * 1000)})
    [labels] = [labels for name, labels in samples(telemetry) if name.endswith("retention_blocked")]
    assert len(dict(labels)["needed_by"]) == MAX_LABEL_CHARACTERS
