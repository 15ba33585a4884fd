"""What the two processes send each other: MessagePack behind its length."""

import struct
from typing import Any

import msgspec

from catalogue.faults import Fault

LENGTH = struct.Struct(">I")


class Question(msgspec.Struct, frozen=True, array_like=True):
    """Whether a payload fits a schema as it was registered; so many faults at most."""

    schema: str
    payload: bytes
    at_most: int


QUESTIONS = msgspec.msgpack.Decoder(list[Question])
FAULTS = msgspec.msgpack.Decoder(list[list[Fault]])


def framed(content: Any) -> bytes:
    encoded = msgspec.msgpack.encode(content)
    return LENGTH.pack(len(encoded)) + encoded
