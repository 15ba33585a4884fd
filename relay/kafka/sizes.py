"""What a message weighs in Kafka: a record batch of it alone, as a broker measures it.

https://kafka.apache.org/documentation/#recordbatch
"""

from relay.kafka.headers import Headers
from relay.log.message import GROUP_KEY, PAYLOAD, Row

# A batch's own fields, and of a record: attributes, and no distance in time or offset to itself.
BATCH_BYTES = 61
RECORD_BYTES = 3


def batch_bytes(row: Row, headers: Headers) -> int:
    """The size of an uncompressed record batch that holds one message and no other."""
    size = RECORD_BYTES + _field(row[GROUP_KEY]) + _field(row[PAYLOAD]) + _varint(len(headers))
    for name, value in headers.items():
        size += _field(name.encode()) + _field(value.encode() if isinstance(value, str) else value)
    return BATCH_BYTES + _varint(size) + size


def _field(content: bytes | None) -> int:
    """With its length before it, which is -1 where there is nothing."""
    return _varint(-1) if content is None else _varint(len(content)) + len(content)


def _varint(number: int) -> int:
    """How many bytes a number takes: seven bits each, zigzag."""
    return -(-((number << 1) ^ (number >> 63)).bit_length() // 7) or 1
