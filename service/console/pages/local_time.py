"""Times as a page's field has them: without an offset, and all of them UTC."""

from datetime import UTC, datetime

from service.problems import Problem


def in_utc(written: str, field: str) -> datetime:
    """What a field of type datetime-local sends, which leaves out seconds that are zero.

    Raises Problem 422.
    """
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        detail = f"{field} does not fit: write a time of UTC as in 2026-11-30T13:05:07."
        raise Problem(422, detail, field=field) from None


def of_field(at: datetime | None) -> str:
    """What such a field takes: 2026-11-30T13:05:07, the hour of UTC; empty for None."""
    return "" if at is None else f"{at.replace(tzinfo=None):%Y-%m-%dT%H:%M:%S}"
