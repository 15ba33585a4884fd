"""What /metrics of a relay shows."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relay.monitoring.telemetry import Telemetry

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(telemetry: Telemetry) -> Samples:
    """Every sample by its name and labels."""
    text = generate_latest(telemetry.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
