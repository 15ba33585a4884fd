"""Channels that wait for their topics are shown while they wait, up to a bound."""

from relay.monitoring.telemetry import Telemetry
from relay.monitoring.waiting_channels import MAX_WAITING_CHANNELS
from tests.relay.monitoring.samples import samples


def test_a_channel_that_waits_no_more_is_not_shown() -> None:
    telemetry = Telemetry()
    telemetry.waiting({("kafka", "orders"): 12.0})
    labels = (("channel", "orders"), ("subscription", "kafka"))
    assert samples(telemetry)["outbox_relay_channel_waiting_seconds", labels] == 12
    telemetry.waiting({})
    assert ("outbox_relay_channel_waiting_seconds", labels) not in samples(telemetry)


def test_waiting_channels_are_bounded() -> None:
    telemetry = Telemetry()
    number = MAX_WAITING_CHANNELS + 10
    telemetry.waiting({("kafka", f"channel-{n}"): 1.0 for n in range(number)})
    shown = [name for name, _ in samples(telemetry) if name.endswith("waiting_seconds")]
    assert len(shown) == MAX_WAITING_CHANNELS
    assert samples(telemetry)["outbox_relay_waiting_channels", ()] == number
