"""Event types: the catalogue of what is published, each with a schema and its versions."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

from msgspec import UNSET

from outbox_client.operation import Resource, Via, listing, operation
from outbox_client.pages import Page
from outbox_client.problems import Fault
from outbox_client.shape import Shape

Enforcement = Literal["off", "report", "refuse"]
Compatibility = Literal["full", "backward", "forward", "none"]


class Deprecation(Shape, frozen=True, kw_only=True):
    """From which day on a type is deprecated, and the type to publish and read instead."""

    date: date
    successor: str | None = None


class EventTypeOutline(Shape, frozen=True, kw_only=True):
    """A type, without what may be large.

    `version` is that in force. `faults`: how many messages were published that do not fit, where
    that is only reported. `checked_in_sql` False: SQL can't keep the schema, and `not_in_sql` says
    why; then what is published over HTTP alone is checked.
    """

    type: str
    channels: list[str]
    description: str
    owner: str
    enforcement: Enforcement
    compatibility: Compatibility
    version: int
    faults: int
    not_in_sql: str | None
    created_at: datetime
    changed_at: datetime
    checked_in_sql: bool
    deprecation: Deprecation | None


class VersionOutline(Shape, frozen=True, kw_only=True):
    """A version of a type, without its schema."""

    version: int
    compatibility: Compatibility
    made_by: str
    created_at: datetime


class ReportedFault(Shape, frozen=True, kw_only=True):
    """A message that was published and does not fit: its first fault, and no value of it."""

    message_id: str
    channel_id: str
    version: int
    pointer: str
    keyword: str
    at: datetime


class EventType(EventTypeOutline, frozen=True, kw_only=True):
    """A type, with the schema in force, its versions and its latest faults."""

    schema: Any
    example: Any
    versions: list[VersionOutline]
    latest_faults: list[ReportedFault]


class Validation(Shape, frozen=True, kw_only=True):
    """Whether a payload fits the version in force; at most 20 of its faults."""

    version: int
    fits: bool
    faults: list[Fault]


class EventTypes(Resource[Via]):
    """Reading and validating need the scope `read`, all else `manage`."""

    @operation("PUT", "/v1/event-types/{type}")
    def put(
        self,
        type: str,
        *,
        channels: Sequence[str],
        schema: dict[str, Any] | bool,
        description: str = "",
        owner: str = "",
        example: Any = UNSET,
        enforcement: Enforcement = "refuse",
        compatibility: Compatibility = "full",
        deprecation: Deprecation | None = None,
    ) -> EventType:
        """Registers a type or changes it: what is left out is the default again.

        A schema that differs is the next version. One that breaks an earlier version is refused
        (Conflict), and `breaks` say how.
        """

    @listing("/v1/event-types")
    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[EventTypeOutline]:
        """All event types, by the time of their registration."""

    @operation("GET", "/v1/event-types/{type}")
    def read(self, type: str) -> EventType:
        """One event type."""

    @operation("DELETE", "/v1/event-types/{type}", timeout_seconds=75.0)
    def delete(self, type: str) -> None:
        """Deletes an event type with its versions, if no message of it was published."""

    @operation("GET", "/v1/event-types/{type}/versions/{version}")
    def read_version(self, type: str, version: int) -> Any:
        """The JSON Schema of one version of an event type."""

    @operation("POST", "/v1/event-types/{type}/validate", repeatable=True, body="payload")
    def validate(self, type: str, payload: Any) -> Validation:
        """Says whether a payload fits the version in force, and publishes nothing."""

    @operation("GET", "/v1/asyncapi.json")
    def asyncapi(self, *, channel_id: str | None = None) -> Any:
        """The event types as an AsyncAPI 3.0 document, of all channels or of one."""
