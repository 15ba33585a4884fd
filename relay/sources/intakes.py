"""The intake of a source, by its kind."""

from typing import Any

from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources.intake import Intake
from relay.sources.kafka.intake import TopicIntake
from relay.sources.source import Source
from relay.sources.sqs.intake import QueueIntake


def intake_of(source: Source, settings: Settings, telemetry: Telemetry) -> Intake[Any]:
    """That of a topic or of a queue."""
    kind = QueueIntake if source.kind == "sqs" else TopicIntake
    return kind(source, settings, telemetry)
