"""Drawings for pages, as numbers that a template puts into SVG."""

from dataclasses import dataclass

from service.console.minutes import Hour

# Of a bar with its gap, and of the highest one.
BAR_WIDTH = 3
HEIGHT = 26


@dataclass(frozen=True)
class Bar:
    """One minute: from the left, and how high it is; `failed` stands on top of what arrived."""

    x: int
    arrived: int
    failed: int


@dataclass(frozen=True)
class Sparkline:
    """An hour of a subscription. `said` is the same in words, for who does not see it."""

    bars: list[Bar]
    width: int
    height: int
    said: str


def sparkline(hour: Hour) -> Sparkline:
    """A bar for each minute, the last one at the right; what is not nothing is seen."""
    pairs = list(zip(hour.messages, hour.failures, strict=True))
    most = max(1, *(messages + failures for messages, failures in pairs))
    bars = []
    for place, (messages, failures) in enumerate(pairs):
        if messages or failures:
            failed = _height(failures, most)
            arrived = min(_height(messages, most), HEIGHT - failed)
            bars.append(Bar(place * BAR_WIDTH, arrived, failed))
    said = f"{sum(hour.messages):,} delivered and {sum(hour.failures):,} failed in the last hour"
    return Sparkline(bars, len(pairs) * BAR_WIDTH, HEIGHT, said)


def _height(number: int, most: int) -> int:
    return 0 if number == 0 else max(2, round(HEIGHT * number / most))
