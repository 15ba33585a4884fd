"""A record of a topic or a message of a queue, and what of it enters the log."""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.log import path
from relay.sources.entry import MAX_BYTES, Entry, Refused, size
from relay.sources.event import BAD_EVENT, Event, event, is_structured
from relay.sources.headers import encoded

# What a message without a content type has.
UNKNOWN = "application/octet-stream"
# An empty value is none, and the log keeps no NULL.
TOMBSTONE = "kafka-tombstone"
MAX_KEY_BYTES = 1024
# A message's own hundred, and as many again for what carried it.
MAX_HEADERS = 200
# What a header takes of memory besides its name and value.
HEADER_BYTES = 100
_TYPE = re.compile(r"[^\x00-\x1f\x7f]{1,255}\Z")
_IDEMPOTENCY_KEY = re.compile(r"[!-\-/-~]{1,128}\Z")
_CONTENT_TYPE = re.compile(r"[ -~]{1,255}\Z")

Headers = Sequence[tuple[str, bytes | None]]


class Record(NamedTuple):
    """As it was read: names of headers repeat, values are bytes or None.

    What a queue has of it: `topic` is the queue's name, `message_id` the queue's own for it.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    message_id: str | None = None

    @property
    def size(self) -> int:
        """All that it holds, in bytes of memory."""
        size = len(self.key or b"") + len(self.value or b"")
        size += HEADER_BYTES * len(self.headers)
        return size + sum(len(name) + len(value or b"") for name, value in self.headers)


def entry(record: Record, channel: str, installation: str) -> Entry | None:
    """What of it enters this channel; None: it has passed this installation before.

    Raises Refused.
    """
    if len(record.headers) > MAX_HEADERS:
        raise Refused("too_many_headers", f"{len(record.headers)}, and at most {MAX_HEADERS} enter")
    texts = _texts(record.headers)
    named = {name.lower(): text for name, text in texts}
    came_by: list[str] = []
    if path.NAME in named:
        came_by = path.passed([text for name, text in texts if name.lower() == path.NAME])
    if installation in came_by:
        return None
    value = record.value or b""
    if len(value) > MAX_BYTES and not is_structured(named):
        raise _too_large(len(value))
    found = event(named, value)
    made = (
        channel,
        _type(found.type if found else record.topic),
        None if record.key is None else group_key(record.key),
        _idempotency_key(record, named, found),
        _headers(record, texts, found, path.onward(came_by, installation)),
        _content_type(found.content_type if found else named.get("content-type")),
        found.data if found else value,
    )
    if size(made) > MAX_BYTES:
        raise _too_large(size(made))
    return made


def _texts(headers: Headers) -> list[tuple[str, str]]:
    """Those that are text."""
    try:
        return [(name, value.decode()) for name, value in headers]  # type: ignore[union-attr]
    except (AttributeError, UnicodeDecodeError):
        # One is none, or no text.
        found = ((name, _text(value)) for name, value in headers)
        return [(name, text) for name, text in found if text is not None]


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _too_large(counted: int) -> Refused:
    return Refused("too_large", f"{counted} bytes, and the log takes {MAX_BYTES}")


def group_key(key: bytes) -> str:
    """Of equal keys the same, of others another one. What is no text stands in base64."""
    if len(key) <= MAX_KEY_BYTES and b"\0" not in key:
        try:
            return key.decode()
        except UnicodeDecodeError:
            pass
    if len(key) <= MAX_KEY_BYTES // 2:
        return f"base64:{base64.b64encode(key).decode()}"
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def _type(name: str) -> str:
    if not _TYPE.match(name):
        raise Refused(BAD_EVENT, f"type {name[:255]!a} is not 1 to 255 printable characters")
    return name


def _idempotency_key(record: Record, named: dict[str, str], found: Event | None) -> str:
    key = named.get("idempotency-key")
    if not key and found:
        # Only with its source an event's id is that of one event.
        return _sha256(f"{found.attributes['source']} {found.id}")
    if not key:
        key = record.message_id or f"{record.topic}-{record.partition}-{record.offset}"
    # No dot in a key, and no colon in a topic's name.
    key = key.replace(".", ":")
    return key if _IDEMPOTENCY_KEY.match(key) else _sha256(key)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _content_type(given: str | None) -> str:
    return given if given and _CONTENT_TYPE.match(given) else UNKNOWN


def _headers(
    record: Record, texts: list[tuple[str, str]], found: Event | None, onward: str
) -> str | None:
    """The path, what else the event says of itself, and the record's own, which count more."""
    made = [(path.NAME, onward)]
    if record.value is None:
        made.append((TOMBSTONE, "true"))
    if found:
        made += [(f"event-{name}", text) for name, text in found.attributes.items()]
        made.append(("event-id", found.id))
    made += [one for one in texts if one[0].lower() != path.NAME]
    return encoded(made)
