"""A message of a queue: as it was received, and as a record that may enter.

What a connector of this project wrote to the queue comes back as it was in the log: see
relay/push/sqs/entry.py.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from relay.push.sqs.entry import ENCODING, KEY, KEY_IN_BASE64, OWN
from relay.sources.entry import Refused
from relay.sources.record import Record

NO_NOTIFICATION = "no_notification"
BAD_ENCODING = "bad_encoding"
TEXT = b"text/plain; charset=utf-8"
CONTENT_TYPE = "content-type"
# What a queue's own id for a message looks like: SQS's are UUIDs.
_ID = re.compile("[!-~]{1,100}")

_own = msgspec.json.Decoder(dict[str, str])


class Settings(msgspec.Struct, frozen=True):
    """What of a source's settings says how its messages are read."""

    unwrap: str | None = None


def unwraps(settings: str) -> bool:
    """Whether messages stand in notifications of SNS, by the settings of a source."""
    return msgspec.json.decode(settings, type=Settings).unwrap == "sns"


class Attribute(msgspec.Struct, frozen=True, rename={"type": "Type", "value": "Value"}):
    """Of a notification."""

    type: str
    value: str


class Notification(
    msgspec.Struct,
    frozen=True,
    rename={"type": "Type", "message": "Message", "attributes": "MessageAttributes"},
):
    """What SNS writes around a message.

    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    """

    type: str
    message: str
    attributes: dict[str, Attribute] = {}


_notification = msgspec.json.Decoder(Notification)


def received(message: Mapping[str, Any], queue: str) -> Record:
    """As botocore has it, of a queue of this name."""
    system = message.get("Attributes") or {}
    group = system.get("MessageGroupId")
    return Record(
        topic=queue,
        partition=0,
        offset=0,
        key=None if group is None else _bytes(group),
        value=_bytes(message.get("Body") or ""),
        headers=[
            (name, _value(one)) for name, one in (message.get("MessageAttributes") or {}).items()
        ],
        message_id=_id(str(message["MessageId"])),
    )


def _id(given: str) -> str:
    """What a message is known by: of two that are not the same never one, or the second is lost."""
    return given if _ID.fullmatch(given) else hashlib.sha256(_bytes(given)).hexdigest()


def _value(attribute: Mapping[str, Any]) -> bytes | None:
    text, binary = attribute.get("StringValue"), attribute.get("BinaryValue")
    if text is not None:
        return _bytes(text)
    return bytes(binary) if isinstance(binary, bytes) else None


def _bytes(text: str) -> bytes:
    # JSON can hold half of a surrogate pair, which is no character.
    return text.encode(errors="surrogatepass")


def opened(record: Record, unwrap: bool) -> Record:
    """Without what SNS, or a connector of this project, has put around it. Raises Refused."""
    if unwrap:
        record = _unwrapped(record)
    named = {name.lower(): value for name, value in record.headers}
    headers = [one for one in record.headers if one[0].lower() not in _AROUND]
    headers += _own_headers(named.get(OWN))
    value, key = record.value, record.key
    encoding = named.get(ENCODING)
    if encoding is not None:
        if encoding != b"base64":
            raise Refused(BAD_ENCODING, f"{ENCODING} {encoding[:50]!a} is not base64")
        value = _decoded(ENCODING, value or b"")
    elif CONTENT_TYPE not in named:
        headers.append((CONTENT_TYPE, TEXT))
    if (written := named.get(KEY)) is not None:
        key = written
    elif (coded := named.get(KEY_IN_BASE64)) is not None:
        key = _decoded(KEY_IN_BASE64, coded)
    return record._replace(key=key, value=value, headers=headers)


_AROUND = frozenset({ENCODING, KEY, KEY_IN_BASE64, OWN})


def _unwrapped(record: Record) -> Record:
    try:
        found = _notification.decode(record.value or b"")
    except (ValueError, RecursionError) as wrong:
        raise Refused(NO_NOTIFICATION, f"the body is no notification: {wrong!s:.200}") from None
    if found.type != "Notification":
        raise Refused(NO_NOTIFICATION, f"the body is of type {found.type[:50]!a}")
    headers = [
        (name, _bytes(one.value)) for name, one in found.attributes.items() if one.type != "Binary"
    ]
    return record._replace(value=_bytes(found.message), headers=headers)


def _own_headers(written: bytes | None) -> list[tuple[str, bytes | None]]:
    """Those that stood together in one attribute; none where that is no JSON of them."""
    try:
        found = _own.decode(written or b"{}")
    except ValueError:
        return []
    return [(name, value.encode()) for name, value in found.items()]


def _decoded(what: str, text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as wrong:
        raise Refused(BAD_ENCODING, f"{what}: {wrong}") from None
