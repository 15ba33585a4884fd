"""A message's headers in Kafka: CloudEvents 1.0, binary mode, then its own.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import time

import msgspec

from relay.sink import Row, microseconds

Headers = dict[str, str | bytes]

_own = msgspec.json.Decoder(dict[str, str])


class CloudEvents:
    """Makes headers with one `source`. A backlog shares its seconds, so their text is kept."""

    def __init__(self, source: str) -> None:
        self._source = source.encode()
        self._seconds: dict[int, bytes] = {}

    def headers(self, row: Row) -> Headers:
        """`ce_id` is the idempotency key, `ce_time` when the message was written, in UTC."""
        _, _, type_, _, idempotency_key, own, content_type, _, created_at = row
        second, fraction = divmod(microseconds(created_at), 1_000_000)
        headers: Headers = {
            "ce_specversion": b"1.0",
            "ce_id": idempotency_key,
            "ce_type": type_,
            "ce_source": self._source,
            "ce_time": b"%b.%06dZ" % (self._seconds.get(second) or self._text(second), fraction),
            "content-type": content_type,
            "idempotency-key": idempotency_key,
        }
        if own is not None:
            headers.update(_own.decode(own))
        return headers

    def _text(self, second: int) -> bytes:
        if len(self._seconds) > 1000:
            self._seconds.clear()
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        self._seconds[second] = text
        return text
