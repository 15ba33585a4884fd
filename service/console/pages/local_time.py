"""Times as a page's field has them: without an offset, and all of them UTC."""

from datetime import UTC, datetime


def in_utc(at: datetime) -> datetime:
    """The same with its offset; one that has an offset stays as it is."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def of_field(at: datetime | None) -> str:
    """What a field of type datetime-local takes: 2026-11-30T13:05:07; empty for None."""
    return "" if at is None else f"{in_utc(at).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
