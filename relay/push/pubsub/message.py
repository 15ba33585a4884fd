"""A message as Pub/Sub has it: its data, attributes and ordering key.

https://cloud.google.com/pubsub/quotas#resource_limits and, for the attributes,
https://github.com/googleapis/google-cloudevents/blob/main/docs/spec/pubsub.md
"""

import hashlib
from typing import Any

import msgspec

from relay.log.data_schemas import NONE, DataSchemas
from relay.log.encoding import Unsendable, own_headers, time_text
from relay.log.message import (
    CONTENT_TYPE,
    CREATED_AT,
    GROUP_KEY,
    HEADERS,
    IDEMPOTENCY_KEY,
    PAYLOAD,
    REPLAYED_HEADER,
    TYPE,
    TYPE_VERSION,
    Row,
)
from relay.log.path import NOWHERE, OwnPath

MAX_ATTRIBUTES = 100
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = 1024
MAX_KEY_BYTES = 1024
# Of a request with its topic's name, and of a message what is left.
MAX_REQUEST_BYTES = 10_000_000
FRAME_BYTES = 1_000
# A name of Google's own begins so, in any case.
RESERVED = "goog"
# Pub/Sub takes an empty key for none.
EMPTY_KEY = f"sha256-{hashlib.sha256(b'').hexdigest()}"
# CloudEvents' partitioning extension.
KEY = "ce-partitionkey"


class Message(msgspec.Struct, frozen=True):
    """Google's message, its ordering key (empty: none) and its bytes in a request."""

    wire: Any
    key: str
    size: int


class Messages:
    """Makes the messages of one subscription; `ordering`: its groups are ordering keys."""

    def __init__(
        self,
        source: str,
        *,
        ordering: bool,
        path: OwnPath = NOWHERE,
        schemas: DataSchemas = NONE,
    ) -> None:
        from google.pubsub_v1.types import PubsubMessage

        self._make = PubsubMessage.pb()
        self._source = source
        self._path = path
        self._schemas = schemas
        self._ordering = ordering

    def of(self, row: Row, *, replayed: bool) -> Message:
        """Raises NotEncodable, Unsendable among it."""
        group = row[GROUP_KEY]
        key = _ordering_key(group) if group is not None and self._ordering else ""
        attributes = own_headers(row[HEADERS]) if row[HEADERS] is not None else {}
        self._path.mark(attributes)
        attributes |= self._cloud_event(row)
        if group and not key:
            attributes[KEY] = group.decode()
        if replayed:
            attributes[REPLAYED_HEADER] = "true"
        _demand_within(attributes)
        wire = self._make(data=row[PAYLOAD], attributes=attributes, ordering_key=key)
        # With its tag and length.
        size = wire.ByteSize() + 6
        if size > MAX_REQUEST_BYTES - FRAME_BYTES:
            raise Unsendable("message_size", f"{size} bytes, and a request takes 10000000")
        return Message(wire, key, size)

    def _cloud_event(self, row: Row) -> dict[str, str]:
        """CloudEvents' binary mode."""
        key = row[IDEMPOTENCY_KEY].decode()
        schema = self._schemas.of(row[TYPE], row[TYPE_VERSION])
        return {
            "ce-specversion": "1.0",
            "ce-id": key,
            "ce-type": row[TYPE].decode(),
            "ce-source": self._source,
            "ce-time": time_text(row[CREATED_AT]).decode(),
            "Content-Type": row[CONTENT_TYPE].decode(),
            "idempotency-key": key,
            **({} if schema is None else {"ce-dataschema": schema.decode()}),
        }


def _ordering_key(group: bytes) -> str:
    if len(group) > MAX_KEY_BYTES:
        text = f"the group key has {len(group)} bytes, and an ordering key {MAX_KEY_BYTES} at most"
        raise Unsendable("ordering_key_size", text)
    return group.decode() or EMPTY_KEY


def _demand_within(attributes: dict[str, str]) -> None:
    """Raises Unsendable where there are too many, or one is too long or Google's own."""
    if len(attributes) > MAX_ATTRIBUTES:
        text = f"{len(attributes)} with the message's own headers, and at most {MAX_ATTRIBUTES}"
        raise Unsendable("attributes_per_message", text)
    # A character has four bytes at most; nearly all messages are within by that.
    if (
        4 * max(map(len, attributes)) <= MAX_NAME_BYTES
        and 4 * max(map(len, attributes.values())) <= MAX_VALUE_BYTES
        and RESERVED not in "".join(attributes).lower()
    ):
        return
    for name, value in attributes.items():
        if len(name.encode()) > MAX_NAME_BYTES:
            text = f"{name:.60}… has more than {MAX_NAME_BYTES} bytes"
            raise Unsendable("attribute_key_size", text)
        if name[:4].lower() == RESERVED:
            raise Unsendable("attribute_key_goog", f"{name:.60} begins with goog")
        if (size := len(value.encode())) > MAX_VALUE_BYTES:
            text = f"{name:.60} has {size} bytes, and at most {MAX_VALUE_BYTES}"
            raise Unsendable("attribute_value_size", text)
