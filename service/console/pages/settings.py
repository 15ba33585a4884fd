"""Settings as a page lists them: each by its name in the API, and what it says."""

from collections.abc import Iterator, Mapping


def told(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """As the API shows them; what is within another is named after it: `retry.schedule`."""
    return [line for name, value in settings.items() for line in _lines(name, value)]


def _lines(name: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for inner, one in value.items():
                yield from _lines(f"{name}.{inner}", one)
        case list():
            yield name, ", ".join(_text(one) for one in value)
        case _:
            yield name, _text(value)


def _text(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
