"""Whether a text matches a pattern, where every engine that reads the schema says the same."""

from catalogue import patterns


def matches(pattern: str, text: str) -> bool | None:
    """None where engines may differ, or none takes linear time."""
    try:
        patterns.spelled(pattern)
    except patterns.OutsideSubset:
        return None
    return patterns.match(pattern, text)
