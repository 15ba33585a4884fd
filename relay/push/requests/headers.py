"""A message's headers over HTTP: CloudEvents 1.0, binary mode, then its own.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

import re
from functools import lru_cache
from urllib.parse import quote

from relay.log.data_schemas import NONE, DataSchemas
from relay.log.encoding import NotEncodable, own_headers, time_text
from relay.log.message import (
    CONTENT_TYPE,
    CREATED_AT,
    HEADERS,
    IDEMPOTENCY_KEY,
    TYPE,
    TYPE_VERSION,
    Row,
)
from relay.push.http.lines import Lines, lines

# What the binding leaves as it is: printable ASCII but the blank, '"' and '%' (section 3.1.3.2).
_PLAIN = "!#$&'()*+,/:;<=>?@[\\]^`{|}"

# Names that are not a message's own to set, as servers that fold case and punctuation read them.
# outbox.headers_fault refuses them when the message is written. Here they are withheld: a row that
# came by another way must not frame, route or authorise a request.
_NOT_ITS_OWN = re.compile(
    r"(ce|webhook|proxy|sec|x-forwarded|x-original|x-rewrite|x-http-method)(-.*)?"
    r"|idempotency-key|content-type|replayed"
    r"|connection|keep-alive|te|trailer|trailers|transfer-encoding|upgrade|http2-settings"
    r"|content-length|expect|accept|accept-encoding|user-agent"
    r"|host|x-host|forwarded|via|x-method-override"
    r"|authorization|cookie|cookie2|set-cookie|set-cookie2"
    r"|x-real-ip|x-client-ip|x-cluster-client-ip|client-ip|true-client-ip|cf-connecting-ip"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_FOLDED = str.maketrans(dict.fromkeys("!#$%&'*+.^_`|~", "-"))

_PLAIN_VALUE = re.compile(rb"[A-Za-z0-9_.~\-%b]*" % re.escape(_PLAIN).encode())
# A value as it leaves us: printable ASCII. What is written into these lines has been seen to be so.
_VALUE = re.compile(rb"[ -~]*")
_LINES = (
    b"ce-specversion: 1.0\r\n"
    b"ce-source: %b\r\n"
    b"ce-id: %b\r\n"
    b"ce-type: %b\r\n"
    b"ce-time: %b\r\n"
    b"content-type: %b\r\n"
    b"idempotency-key: %b\r\n"
    b"webhook-id: %b\r\n"
)
_SCHEMA = b"ce-dataschema: %b\r\n"
_REPLAYED = b"replayed: true\r\n"

# The lines of so many messages are kept, for their next subscription: of none that are longer.
MAX_KEPT_MESSAGES = 2000
MAX_KEPT_BYTES = 2000


class Headers:
    """Makes headers with one `source`, the relay's event source."""

    def __init__(self, source: str, schemas: DataSchemas = NONE) -> None:
        self._source = _percent_encoded(source)
        self._schemas = schemas
        self._kept = lru_cache(MAX_KEPT_MESSAGES)(self._lines)

    def of(self, row: Row, *, replayed: bool) -> Lines:
        """All that stays the same on every attempt: webhook-timestamp and -signature are added.

        Raises NotEncodable.
        """
        own = row[HEADERS]
        is_short = own is None or len(own) <= MAX_KEPT_BYTES
        make = self._kept if is_short else self._lines
        return make(
            row[TYPE],
            row[IDEMPOTENCY_KEY],
            own,
            row[CONTENT_TYPE],
            row[CREATED_AT],
            row[TYPE_VERSION],
            replayed,
        )

    def _lines(
        self,
        type_: bytes,
        idempotency_key: bytes,
        own: bytes | None,
        content_type: bytes,
        created_at: int,
        type_version: int | None,
        replayed: bool,
    ) -> Lines:
        key = _plain("idempotency_key", idempotency_key)
        of_message = _LINES % (
            self._source,
            key if _PLAIN_VALUE.fullmatch(key) else _percent_encoded(key.decode()),
            _type(type_),
            time_text(created_at),
            _content_type(content_type),
            key,
            key,
        )
        schema = self._schemas.of(type_, type_version)
        named = b"" if schema is None else _SCHEMA % schema
        return Lines(of_message + named + _REPLAYED * replayed + _own(own))


def _own(headers: bytes | None) -> bytes:
    if headers is None:
        return b""
    own = own_headers(headers)
    return lines((name, _value(value)) for name, value in own.items() if _is_its_own(name))


def _value(value: str) -> str:
    plain = value.isascii() and value.isprintable()
    return value if plain else quote(value, safe=f' "{_PLAIN}')


def _plain(field: str, value: bytes) -> bytes:
    if not _VALUE.fullmatch(value):
        raise NotEncodable(f"{field}: its value is no header's value")
    return value


@lru_cache(1000)
def _is_its_own(name: str) -> bool:
    folded = name.lower().translate(_FOLDED)
    return bool(_TOKEN.fullmatch(name)) and not _NOT_ITS_OWN.fullmatch(folded)


@lru_cache(1000)
def _content_type(value: bytes) -> bytes:
    return _plain("content_type", value)


@lru_cache(1000)
def _type(name: bytes) -> bytes:
    return _percent_encoded(name.decode())


def _percent_encoded(value: str) -> bytes:
    return quote(value, safe=_PLAIN).encode()
