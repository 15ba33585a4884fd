"""Numbers and times as people read them."""

from datetime import date, datetime


def count(number: int) -> str:
    """1234567 is 1,234,567."""
    return f"{number:,}"


def day(moment: date) -> str:
    """30 November 2026."""
    return f"{moment.day} {moment:%B %Y}"


def moment(at: datetime) -> str:
    """30 November 2026, 13:05 UTC; the database's times are all UTC."""
    return f"{day(at)}, {at:%H:%M} UTC"


def plural(number: int, one: str, many: str | None = None) -> str:
    """1 fault, 2 faults."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
