"""A record of a topic or a message of a queue, and what of it enters the log."""

import base64
import hashlib
import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from relay.log import path
from relay.sources import headers
from relay.sources.entry import MAX_BYTES, Entry, Refused, size
from relay.sources.event import BAD_EVENT, demand_whole, is_structured, structured
from relay.sources.shape import Shape, shape_of

# What a message without a content type has.
UNKNOWN = "application/octet-stream"
MAX_KEY_BYTES = 1024
MAX_IDEMPOTENCY_KEY = 128
MAX_CONTENT_TYPE = 255
# A message's own hundred, and as many again for what carried it.
MAX_HEADERS = 200
# What a header takes of memory besides its name and value.
HEADER_BYTES = 100
MAX_TYPE = 255
_TYPE = re.compile(r"[^\x00-\x1f\x7f]{1,255}\Z")

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
        try:
            return size + sum(map(len, chain.from_iterable(self.headers)))  # type: ignore[arg-type]
        except TypeError:
            # One has no value.
            return size + sum(len(name) + len(value or b"") for name, value in self.headers)


def entry(record: Record, channel: str, installation: str) -> Entry | None:
    """What of it enters this channel; None: it has passed this installation before.

    Raises Refused.
    """
    if len(record.headers) > MAX_HEADERS:
        raise Refused("too_many_headers", f"{len(record.headers)}, and at most {MAX_HEADERS} enter")
    names, texts = _texts(record.headers)
    shape = shape_of(names, tombstone=record.value is None)
    came_by = path.passed([texts[place] for place in shape.paths]) if shape.paths else []
    if installation in came_by:
        return None
    # As a shape's places count them.
    texts += (path.onward(came_by, installation) if came_by else installation, "true", "")
    type_, unique, data = record.topic, None, record.value or b""
    content_type = texts[shape.content_type]
    if is_structured(content_type):
        type_, id_, source, content_type, data, attributes = structured(content_type, data)
        unique = f"{source} {id_}"
        kept = _of_structured(shape, texts, {**attributes, "id": id_})
    else:
        if len(data) > MAX_BYTES:
            raise _too_large(len(data))
        if shape.event is not None:
            type_, id_, source = [texts[place] for place in shape.event]
            demand_whole(type_, id_, source)
            unique = f"{source} {id_}"
        kept = _headers(shape, texts)
    made = (
        channel,
        _type(type_),
        None if record.key is None else group_key(record.key),
        _idempotency_key(record, texts[shape.idempotency_key], unique),
        kept,
        _content_type(content_type),
        data,
    )
    if (counted := size(made)) > MAX_BYTES:
        raise _too_large(counted)
    return made


def _texts(headers: Headers) -> tuple[tuple[str, ...], list[str]]:
    """The names and the values of those that are text."""
    try:
        texts = [value.decode() for _, value in headers]  # type: ignore[union-attr]
    except (AttributeError, UnicodeDecodeError):
        # One is none, or no text.
        found = [(name, text) for name, value in headers if (text := _text(value)) is not None]
        return tuple([name for name, _ in found]), [text for _, text in found]
    return tuple([name for name, _ in headers]), texts


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
    # Much that is not printable may stand in one.
    if not (name.isprintable() and 0 < len(name) <= MAX_TYPE) and not _TYPE.match(name):
        raise Refused(BAD_EVENT, f"type {name[:255]!a} is not 1 to 255 printable characters")
    return name


def _idempotency_key(record: Record, key: str, unique: str | None) -> str:
    """What the record says, then what is unique of its event, then its place."""
    if not key and unique is not None:
        # Only with its source an event's id is that of one event.
        return _sha256(unique)
    if not key:
        key = record.message_id or f"{record.topic}-{record.partition}-{record.offset}"
    # No dot in a key, and no colon in a topic's name.
    key = key.replace(".", ":")
    fits = len(key) <= MAX_IDEMPOTENCY_KEY and _is_visible(key) and " " not in key
    return key if fits else _sha256(key)


def _is_visible(text: str) -> bool:
    """Whether it is of ASCII's characters from the space to the tilde."""
    return text.isascii() and text.isprintable()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _content_type(given: str) -> str:
    fits = given and len(given) <= MAX_CONTENT_TYPE and _is_visible(given)
    return given if fits else UNKNOWN


def _headers(shape: Shape, texts: list[str]) -> str | None:
    """The path, what else the event says of itself, and the record's own, which count more."""
    # Most are as their names say that they can be.
    if "".join(texts).isprintable():
        text = msgspec.json.encode({name: texts[place] for name, place in shape.taken})
        if len(text) <= headers.MAX_BYTES:
            return text.decode()
    named = [*shape.around, *shape.of_event, *shape.own]
    return headers.encoded([name for name, _ in named], [texts[place] for _, place in named])


def _of_structured(shape: Shape, texts: list[str], attributes: dict[str, str]) -> str | None:
    """The same, of an event whose attributes are in its value."""
    names = [name for name, _ in shape.around]
    values = [texts[place] for _, place in shape.around]
    names += [f"event-{name}" for name in attributes]
    values += attributes.values()
    names += [name for name, _ in shape.own]
    values += [texts[place] for _, place in shape.own]
    return headers.encoded(names, values)
