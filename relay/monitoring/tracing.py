"""Whether this process exports spans: as OpenTelemetry's standard variables say.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from relay.monitoring.spans import Spans

logger = structlog.get_logger()

EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# What the extra brings, by the variable: what is set besides is told.
KNOWN = {EXPORTER: "otlp", **dict.fromkeys(PROTOCOLS, "http/protobuf")}


def start(relay: str) -> "Spans | None":
    """What makes spans and exports them; None where no exporter is configured, or none can be.

    Nothing of OpenTelemetry is imported before that is known. No fault of it stops a relay.
    """
    variable = _asked_by()
    if variable is None:
        return None
    for name, known in KNOWN.items():
        if os.environ.get(name, known).strip().lower() not in ("", known):
            _tell(f"{name} is {os.environ[name]!r}", f"this relay knows {known}")
            return None
    try:
        from relay.monitoring.spans import Spans

        return Spans(relay)
    except ImportError as missing:
        _tell(f"{variable} is set, and {missing}", "pip install outbox-relay[otel]")
    except Exception as fault:
        _tell(str(fault), "correct the variables OTEL_…")
    return None


def _asked_by() -> str | None:
    """The variable that asks for spans; None where none does."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if exporter := os.environ.get(EXPORTER, "").strip().lower():
        return None if exporter == "none" else EXPORTER
    return next((name for name in ENDPOINTS if os.environ.get(name, "").strip()), None)


def _tell(fault: str, hint: str) -> None:
    logger.warning("no_spans", fault=fault, effect="no spans are exported", hint=hint)
