"""A message's headers over HTTP: CloudEvents 1.0, binary mode, then its own.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

import msgspec

from relay.sink import Row

_POSTGRES_EPOCH = datetime(2000, 1, 1)
# What the binding leaves as it is: printable ASCII but the blank, '"' and '%' (section 3.1.3.2).
_PLAIN = "!#$&'()*+,/:;<=>?@[\\]^`{|}"

# What a message's own headers may not say: who is asked and how the request is framed, whose
# credentials it carries, and what the relay itself writes.
_WITHHELD_NAMES = frozenset({
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host",
    "content-length", "expect", "authorization", "cookie", "accept-encoding", "user-agent",
    "content-type", "idempotency-key", "replayed",
})  # fmt: skip
_WITHHELD_PREFIXES = ("ce-", "webhook-", "proxy-", "sec-")

_own = msgspec.json.Decoder(dict[str, str])


class Headers:
    """Makes headers with one `source`, the relay's event source."""

    def __init__(self, source: str) -> None:
        self._source = _percent_encoded(source)

    def of(self, row: Row, *, replayed: bool) -> dict[str, str]:
        """All that stays the same on every attempt: webhook-timestamp and -signature are added."""
        key = row[4].decode()
        headers = {
            "ce-specversion": "1.0",
            "ce-id": _percent_encoded(key),
            "ce-type": _type(row[2]),
            "ce-source": self._source,
            "ce-time": _time(row[8]),
            "content-type": row[6].decode(),
            "idempotency-key": key,
            "webhook-id": key,
        }
        if replayed:
            headers["replayed"] = "true"
        if row[5] is not None:
            for name, value in _own.decode(row[5]).items():
                lower = name.lower()
                if lower not in _WITHHELD_NAMES and not lower.startswith(_WITHHELD_PREFIXES):
                    headers[name] = value if value.isascii() else quote(value, safe=f' "{_PLAIN}')
        return headers


@lru_cache(1000)
def _type(name: bytes) -> str:
    return _percent_encoded(name.decode())


def _percent_encoded(value: str) -> str:
    return quote(value, safe=_PLAIN)


def _time(created_at: int) -> str:
    second, fraction = divmod(created_at, 1_000_000)
    return f"{_second(second)}.{fraction:06}Z"


@lru_cache(1000)
def _second(second: int) -> str:
    return (_POSTGRES_EPOCH + timedelta(seconds=second)).isoformat()
