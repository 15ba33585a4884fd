"""A message as an entry of SendMessageBatch: its body, attributes, group and deduplication id.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

import base64
import hashlib
import re
from typing import Any

import msgspec

from relay.log.data_schemas import NONE, DataSchemas
from relay.log.encoding import NotEncodable, Unsendable, own_headers, time_text
from relay.log.message import (
    CONTENT_TYPE,
    CREATED_AT,
    GROUP_KEY,
    HEADERS,
    ID,
    IDEMPOTENCY_KEY,
    PAYLOAD,
    REPLAYED_HEADER,
    TYPE,
    TYPE_VERSION,
    Row,
)
from relay.log.path import NOWHERE, OwnPath

# Of one message, and of all of a batch. A queue may take less: its MaximumMessageSize.
MAX_BYTES = 1_048_576
MAX_ATTRIBUTES = 10

ENCODING = "payload-encoding"
KEY = "group-key"
KEY_IN_BASE64 = "group-key-base64"
OWN = "headers"
_RESERVED = frozenset({ENCODING, KEY, KEY_IN_BASE64, OWN})

# What a body or a value may hold: at least one character, and none that XML 1.0 does not know.
_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_NAME = re.compile(r"(?!(aws|amazon)\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
MAX_NAME_CHARACTERS = 256
# A group: letters, digits and punctuation, no blank.
_GROUP = re.compile(rb"[!-~]{1,128}")

# The reason of what is larger than the queue takes.
TOO_LARGE = "maximum_message_size"


class Entry(msgspec.Struct, frozen=True):
    """All but its Id, which is its place in a batch; and its size as SQS counts it."""

    fields: dict[str, Any]
    size: int


class Entries:
    """Makes the entries of one cursor.

    `unique` begins the deduplication ids: SQS drops for five minutes what has an id that it has
    seen. The caller's idempotency key is none, since two messages may have the same; nor is the
    message's id alone, which another one has after a failover that lost it. With `replays`, how
    often the cursor was set back, a replay is not dropped either.
    """

    def __init__(
        self,
        source: str,
        *,
        fifo: bool,
        unique: str,
        replays: int,
        path: OwnPath = NOWHERE,
        schemas: DataSchemas = NONE,
    ) -> None:
        self._source = source
        self._path = path
        self._schemas = schemas
        self._fifo = fifo
        self._unique = unique
        self._replays = replays

    def of(self, row: Row, limit: int, *, replayed: bool) -> Entry:
        """Raises NotEncodable, Unsendable among it."""
        body, attributes = _body(row[PAYLOAD])
        attributes |= self._cloud_event(row)
        fields: dict[str, Any] = {"MessageBody": body}
        key = row[GROUP_KEY]
        if self._fifo:
            unique = self._deduplication_id(row, replayed=replayed)
            fields["MessageDeduplicationId"] = unique
            fields["MessageGroupId"] = unique if key is None else _group(key)
        if key is not None and not (self._fifo and _GROUP.fullmatch(key)):
            attributes |= _key(key)
        own = own_headers(row[HEADERS]) if row[HEADERS] is not None else {}
        self._path.mark(own)
        if (schema := self._schemas.of(row[TYPE], row[TYPE_VERSION])) is not None:
            # With all others, one attribute more than there may be.
            own["ce_dataschema"] = schema.decode()
        if replayed:
            own[REPLAYED_HEADER] = "true"
        attributes |= _own(own, MAX_ATTRIBUTES - len(attributes), attributes.keys())
        fields["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        size = _size(body, attributes)
        if size > limit:
            text = f"{size} bytes as SQS counts them, and MaximumMessageSize is {limit}"
            raise Unsendable(TOO_LARGE, text)
        return Entry(fields, size)

    def _deduplication_id(self, row: Row, *, replayed: bool) -> str:
        again = f"-r{self._replays}" if replayed else ""
        return f"{self._unique}-{row[ID]}-{row[CREATED_AT]}{again}"

    def _cloud_event(self, row: Row) -> dict[str, str]:
        """CloudEvents' binary mode, with the names that it has in Kafka."""
        key = _value("idempotency_key", row[IDEMPOTENCY_KEY])
        return {
            "ce_specversion": "1.0",
            "ce_id": key,
            "ce_type": _value("type", row[TYPE]),
            "ce_source": self._source,
            "ce_time": time_text(row[CREATED_AT]).decode(),
            "content-type": _value("content_type", row[CONTENT_TYPE]),
            "idempotency-key": key,
        }


def _body(payload: bytes) -> tuple[str, dict[str, str]]:
    """The payload as it is where a body may hold it, else in base64; and the mark of that."""
    if not payload:
        raise Unsendable("empty_payload", "the payload is empty, and SQS takes no empty body")
    text = _text(payload)
    if text is not None:
        return text, {}
    return base64.b64encode(payload).decode(), {ENCODING: "base64"}


def _text(data: bytes) -> str | None:
    """None where no body and no value may hold it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if _TEXT.fullmatch(text) else None


def _value(field: str, data: bytes) -> str:
    text = _text(data)
    if text is None:
        raise NotEncodable(f"{field}: its value is no attribute's value")
    return text


def _group(key: bytes) -> str:
    """A key that is no name of a group has a hash in its place, the same for the same key."""
    if _GROUP.fullmatch(key):
        return key.decode()
    return f"sha256-{hashlib.sha256(key).hexdigest()}"


def _key(key: bytes) -> dict[str, str]:
    if not key:
        # No attribute is empty.
        return {}
    text = _text(key)
    return {KEY: text} if text is not None else {KEY_IN_BASE64: base64.b64encode(key).decode()}


def _own(own: dict[str, str], room: int, taken: Any) -> dict[str, str]:
    """A message's own headers, an attribute each; all of them in one where they don't fit so."""
    if not own:
        return {}
    fit = len(own) <= room and all(
        name not in taken and _is_its_own(name) and _TEXT.fullmatch(value)
        for name, value in own.items()
    )
    return own if fit else {OWN: _ascii_json(own)}


def _is_its_own(name: str) -> bool:
    return (
        name not in _RESERVED
        and len(name) <= MAX_NAME_CHARACTERS
        and _NAME.fullmatch(name) is not None
    )


def _ascii_json(own: dict[str, str]) -> str:
    # Each character that an attribute can't hold is escaped.
    text = msgspec.json.encode(own).decode()
    if _TEXT.fullmatch(text):
        return text
    return "".join(c if _TEXT.fullmatch(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _size(body: str, attributes: dict[str, str]) -> int:
    size = len(body.encode())
    for name, value in attributes.items():
        size += len(name) + len("String") + len(value.encode())
    return size
