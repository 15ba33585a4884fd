"""`dataschema` of CloudEvents: where one reads the schema that a message was checked against.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#dataschema
"""

from functools import lru_cache

MAX_KEPT = 1000


class DataSchemas:
    """Makes the URIs, as the service answers them; without `event_types_url` there are none."""

    def __init__(self, event_types_url: str = "") -> None:
        self._base = event_types_url.rstrip("/").encode()
        self._kept = lru_cache(MAX_KEPT)(self._made)

    def of(self, type_: bytes, version: int | None) -> bytes | None:
        """Of a Row's type and type_version; None: it was not checked, or nobody asks for it."""
        return self._kept(type_, version) if version is not None and self._base else None

    def _made(self, type_: bytes, version: int) -> bytes:
        # A type that is in the catalogue is a part of a path as it is.
        return b"%b/%b/versions/%d" % (self._base, type_, version)


NONE = DataSchemas()
