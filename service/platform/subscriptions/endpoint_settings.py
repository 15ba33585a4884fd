"""How messages are pushed: as requests write it, as SQL stores it, as it applies.

outbox.http_setting holds the bounds; the types here say the same, so that the document does.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.problems import Problem

Delay = Annotated[float, Meta(ge=0, le=604_800)]
Jitter = Annotated[float, Meta(ge=0, le=1)]

# HTTP's names and SQL's; those with a unit say it in SQL.
STORED_NAMES = {
    "endpoint": "endpoint",
    "concurrency": "concurrency",
    "ratePerSecond": "rate_per_second",
    "timeoutSeconds": "timeout_seconds",
    "maxPayloadBytes": "max_payload_bytes",
    "clientErrors": "client_errors",
    "onExhausted": "on_exhausted",
    "attemptsLog": "attempts_log",
    "retry": "retry",
    "initialDelay": "initial_delay_seconds",
    "multiplier": "multiplier",
    "maxDelay": "max_delay_seconds",
    "maxAttempts": "max_attempts",
    "schedule": "schedule_seconds",
    "jitter": "jitter",
    "breaker": "breaker",
    "window": "window_seconds",
    "minimum": "minimum",
    "threshold": "threshold",
    "coolDown": "cool_down_seconds",
}
HTTP_NAMES = {stored: name for name, stored in STORED_NAMES.items()}

# What the relay does where a subscription says nothing; a test holds the two together.
DEFAULTS: dict[str, object] = {
    "concurrency": 32,
    "ratePerSecond": None,
    "timeoutSeconds": 15.0,
    "maxPayloadBytes": 983_040,
    "clientErrors": "retry",
    "onExhausted": "skip",
    "attemptsLog": "all",
}
BREAKER_DEFAULTS = {"window": 300.0, "minimum": 10, "threshold": 0.7, "coolDown": 30.0}
COMPUTED_RETRY_DEFAULTS = {
    "initialDelay": 5.0,
    "multiplier": 2.0,
    "maxDelay": 36_000.0,
    "maxAttempts": 9,
    "jitter": 0.1,
}
DEFAULT_SCHEDULE = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18_000.0, 36_000.0)


class Retry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When a failed delivery is tried again, in seconds: a schedule, or what computes one."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "not": {
            "required": ["schedule"],
            "anyOf": [
                {"required": [name]}
                for name in ("initialDelay", "multiplier", "maxDelay", "maxAttempts")
            ],
        }
    }

    initial_delay: Annotated[float, Meta(ge=0, le=86_400)] | UnsetType | None = UNSET
    multiplier: Annotated[float, Meta(ge=1, le=100)] | UnsetType | None = UNSET
    max_delay: Delay | UnsetType | None = UNSET
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | UnsetType | None = UNSET
    schedule: Annotated[list[Delay], Meta(max_length=100)] | UnsetType | None = UNSET
    jitter: Jitter | UnsetType | None = UNSET


class Breaker(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """It opens where `threshold` of at least `minimum` attempts within `window` seconds failed."""

    window: Annotated[float, Meta(ge=1, le=3600)] | UnsetType | None = UNSET
    minimum: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType | None = UNSET
    threshold: Annotated[float, Meta(ge=0.01, le=1)] | UnsetType | None = UNSET
    cool_down: Annotated[float, Meta(ge=1, le=86_400)] | UnsetType | None = UNSET


class PushSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What may be said of how messages go to an endpoint or a queue; null is the default."""

    concurrency: Annotated[int, Meta(ge=1, le=1000)] | UnsetType | None = UNSET
    rate_per_second: Annotated[float, Meta(ge=0.01, le=100_000)] | UnsetType | None = UNSET
    timeout_seconds: Annotated[float, Meta(ge=1, le=60)] | UnsetType | None = UNSET
    max_payload_bytes: Annotated[int, Meta(ge=1, le=983_040)] | UnsetType | None = UNSET
    on_exhausted: Literal["skip", "park"] | UnsetType | None = UNSET
    attempts_log: Literal["all", "failures", "none"] | UnsetType | None = UNSET
    retry: Retry | UnsetType | None = UNSET
    breaker: Breaker | UnsetType | None = UNSET


class EndpointSettings(PushSettings, frozen=True, kw_only=True, rename="camel"):
    """What may be said of how an endpoint is served; null is the default."""

    client_errors: Literal["retry", "dead_letter"] | UnsetType | None = UNSET


NAMES = [field.encode_name for field in msgspec.structs.fields(EndpointSettings)]


def given(form: EndpointSettings) -> dict[str, Any]:
    """What the form says of them, by HTTP's names."""
    said: dict[str, Any] = msgspec.to_builtins(form)
    return {name: said[name] for name in NAMES if name in said}


def merged(
    stored: Mapping[str, Any],
    change: Mapping[str, Any],
    names: Mapping[str, str] = STORED_NAMES,
) -> dict[str, Any]:
    """`stored` settings with those of `change` (HTTP's names) over them; null takes one away."""
    result = dict(stored)
    for name, value in change.items():
        key = names[name]
        if isinstance(value, dict):
            value = merged(result.get(key, {}), value, names) or None
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def effective(stored: Mapping[str, Any], names: Mapping[str, str] = HTTP_NAMES) -> dict[str, Any]:
    """What applies, by HTTP's names: what is stored, and the defaults for the rest."""
    named = _named(stored, names)
    retry = named.get("retry", {})
    return {
        **DEFAULTS,
        **named,
        "retry": _effective_retry(retry),
        "breaker": {**BREAKER_DEFAULTS, **named.get("breaker", {})},
    }


def _effective_retry(named: Mapping[str, Any]) -> dict[str, Any]:
    """As one may be given: what a schedule follows from is not said beside it."""
    if "schedule" in named:
        return {"jitter": COMPUTED_RETRY_DEFAULTS["jitter"], **named}
    if "initialDelay" in named or "multiplier" in named:
        return {**COMPUTED_RETRY_DEFAULTS, **named}
    max_delay = named.get("maxDelay", COMPUTED_RETRY_DEFAULTS["maxDelay"])
    max_attempts = named.get("maxAttempts", COMPUTED_RETRY_DEFAULTS["maxAttempts"])
    schedule = [min(_delay(attempt), max_delay) for attempt in range(max_attempts - 1)]
    return {"schedule": schedule, "jitter": named.get("jitter", COMPUTED_RETRY_DEFAULTS["jitter"])}


def _delay(attempt: int) -> float:
    return DEFAULT_SCHEDULE[min(attempt, len(DEFAULT_SCHEDULE) - 1)]


def _named(stored: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        names[key]: _named(value, names) if isinstance(value, dict) else value
        for key, value in stored.items()
    }


def refused(fault: str, names: Mapping[str, str] = HTTP_NAMES, within: str = "") -> Problem:
    """422 for what SQL says of settings: a sentence that begins with `settings.` and their path.

    `names` are HTTP's by SQL's, and stand in the body below `within`.
    """
    path, _, sentence = fault.partition(" ")
    keys = path.removeprefix("settings.").split(".")
    field = within + ".".join(names.get(key, key) for key in keys)
    for stored, name in names.items():
        sentence = sentence.replace(stored, name) if stored != name else sentence
    return Problem(422, f"{field} {sentence}.", field=field)
