"""A message's headers in Kafka: CloudEvents 1.0, binary mode, then its own.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from collections.abc import Iterable

from relay.log import path as paths
from relay.log.data_schemas import NONE, DataSchemas
from relay.log.encoding import NOT_ENCODABLE, NotEncodable, own_headers, time_text
from relay.log.encoding import fault as encoding_fault
from relay.log.message import (
    CONTENT_TYPE,
    CREATED_AT,
    HEADERS,
    ID,
    IDEMPOTENCY_KEY,
    TYPE,
    TYPE_VERSION,
    Row,
)

# As confluent_kafka takes them; none is None.
Headers = dict[str, str | bytes | None]


class CloudEvents:
    """Makes headers with one `source`."""

    def __init__(
        self, source: str, path: paths.OwnPath = paths.NOWHERE, schemas: DataSchemas = NONE
    ) -> None:
        self._source = source.encode()
        self._path = path
        self._schemas = schemas

    def headers(
        self,
        type_: bytes,
        idempotency_key: bytes,
        own: bytes | None,
        content_type: bytes,
        created_at: int,
        type_version: int | None = None,
    ) -> Headers:
        """Of a Row's fields; `ce_id` is the idempotency key, `ce_time` when it was written, UTC.

        Raises NotEncodable.
        """
        headers: Headers = {
            "ce_specversion": b"1.0",
            "ce_id": idempotency_key,
            "ce_type": type_,
            "ce_source": self._source,
            "ce_time": time_text(created_at),
            "content-type": content_type,
            "idempotency-key": idempotency_key,
        }
        self._name_schema(headers, type_, type_version)
        if own is not None:
            headers.update(_named(own))
        self._path.mark(headers)
        return headers

    def _name_schema(self, headers: Headers, type_: bytes, version: int | None) -> None:
        if (schema := self._schemas.of(type_, version)) is not None:
            headers["ce_dataschema"] = schema

    def of(self, row: Row) -> Headers:
        """The headers of one row."""
        return self.headers(
            row[TYPE],
            row[IDEMPOTENCY_KEY],
            row[HEADERS],
            row[CONTENT_TYPE],
            row[CREATED_AT],
            row[TYPE_VERSION],
        )

    def of_page(self, rows: Iterable[Row]) -> list[Headers | None]:
        """The headers of each; None where they can't be encoded: `fault` says why."""
        made: list[Headers | None] = []
        source, path = self._source, self._path.installation
        for row in rows:
            _, _, type_, _, unique, own, content_type, _, created_at, type_version, _ = row
            if own is not None:
                made.append(self._encodable(row))
                continue
            try:
                time = time_text(created_at)
            except NotEncodable:
                made.append(None)
                continue
            # What `headers` makes, without a call for each: a backlog's time is spent here.
            headers: Headers = {
                "ce_specversion": b"1.0",
                "ce_id": unique,
                "ce_type": type_,
                "ce_source": source,
                "ce_time": time,
                "content-type": content_type,
                "idempotency-key": unique,
            }
            if type_version is not None:
                self._name_schema(headers, type_, type_version)
            if path is not None:
                headers[paths.NAME] = path
            made.append(headers)
        return made

    def fault(self, row: Row) -> tuple[str, str]:
        """Reason and detail of the dead letter of a row that `of_page` could not encode."""
        try:
            self.of(row)
        except Exception as wrong:
            return NOT_ENCODABLE, encoding_fault(wrong)
        raise AssertionError(f"message {row[ID]} can be encoded")

    def _encodable(self, row: Row) -> Headers | None:
        try:
            return self.of(row)
        except Exception:
            return None


def _named(own: bytes) -> dict[str, str]:
    """The message's own headers. librdkafka ends a name at its first NUL."""
    headers = own_headers(own)
    if rb"\u0000" in own:
        for name in headers:
            if "\0" in name:
                raise NotEncodable(f"headers: the name {name[:100]!a} holds a NUL")
    return headers
