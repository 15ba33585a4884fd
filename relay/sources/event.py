"""CloudEvents 1.0 in binary and in structured mode, by the names that they have in Kafka.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import base64
import binascii
from typing import NamedTuple

import msgspec

from relay.sources.entry import Refused

BAD_EVENT = "bad_event"
STRUCTURED = "application/cloudevents"
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Event(NamedTuple):
    """What a record is whose value is a whole event. `attributes` are the others, as text."""

    type: str
    id: str
    source: str
    content_type: str
    data: bytes
    attributes: dict[str, str]


def is_structured(content_type: str) -> bool:
    """Whether the value is a whole event, and its data a part of it."""
    return content_type[: len(STRUCTURED)].lower() == STRUCTURED


def structured(content_type: str, value: bytes) -> Event:
    """The event that a value is. Raises Refused."""
    content_type = content_type.lower()
    if not content_type.startswith(f"{STRUCTURED}+json"):
        raise Refused(BAD_EVENT, f"content type {content_type:.100}: only …+json is understood")
    try:
        members = _decode(value)
        data = _data(members)
        attributes = {
            name: _text(name, raw) for name, raw in members.items() if bytes(raw) != b"null"
        }
    except (ValueError, RecursionError) as wrong:
        raise Refused(BAD_EVENT, f"the structured event can't be read: {wrong!s:.200}") from None
    attributes.pop("specversion", None)
    written = attributes.pop("datacontenttype", None) or "application/json"
    type_, id_ = attributes.pop("type", ""), attributes.pop("id", "")
    source = attributes.get("source", "")
    demand_whole(type_, id_, source)
    return Event(type_, id_, source, written, data, attributes)


def demand_whole(type_: str, id_: str, source: str) -> None:
    """Raises Refused where an event lacks what each has."""
    if not type_ or not id_ or not source:
        raise Refused(BAD_EVENT, "an event has type, id and source")


def _data(members: dict[str, msgspec.Raw]) -> bytes:
    """Takes the data out of an event's members. JSON stays as it was written."""
    encoded = members.pop("data_base64", None)
    data = members.pop("data", None)
    if encoded is not None:
        try:
            return base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
        except binascii.Error as wrong:
            raise ValueError(f"data_base64: {wrong}") from None
    if data is None:
        return b""
    media = members.get("datacontenttype")
    if media is not None:
        kind = msgspec.json.decode(media, type=str).partition(";")[0].strip().lower()
        if not (kind.endswith(("/json", "+json"))) and bytes(data).startswith(b'"'):
            return msgspec.json.decode(data, type=str).encode()
    return bytes(data)


def _text(name: str, raw: msgspec.Raw) -> str:
    value = msgspec.json.decode(raw)
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return bytes(raw).decode()
    raise ValueError(f"{name} is no text, number or truth")
