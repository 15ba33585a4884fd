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


def second(at: datetime) -> str:
    """2026-11-30 13:05:07; the database's times are all UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """3 s, 4 min, 5 h, 6 d: the largest unit of which there are two, or seconds."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    """10 B, 24 KB, 3.1 MB."""
    units = iter(("B", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while number >= 1024 and unit != "TB":
        number, unit = number / 1024, next(units)
    return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"


def rate(per_second: float) -> str:
    """0, 0.2, 3.4, 1,200: how many a second."""
    if per_second == 0:
        return "0"
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """1 fault, 2 faults."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
