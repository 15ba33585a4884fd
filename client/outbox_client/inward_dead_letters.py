"""Inward dead letters: what came to connectors of direction in and could not enter."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET, UnsetType

from outbox_client.operation import Resource, Via, listing, operation
from outbox_client.pages import Page
from outbox_client.shape import Shape


class InwardDeadLetter(Shape, frozen=True, kw_only=True):
    """A record of a topic, by partition and offset, or a message of a queue, by its id there.

    `due`: it is asked for to be tried again, and a relay will.
    """

    id: str
    connector_id: str
    topic: str
    partition: int | None
    offset: str | None
    message_id: str | None
    size: int
    reason: str
    detail: str
    due: bool
    died_at: datetime


class Header(Shape, frozen=True, kw_only=True):
    """As it came: a name may come again, and a value need not be text."""

    name: str
    value: bytes | None


class WholeInwardDeadLetter(InwardDeadLetter, frozen=True, kw_only=True):
    """With what it holds, decoded; the value of a tombstone is None.

    To a key without the scope payloads it is shown without that, and `withheld` says so.
    """

    key_base64: bytes | UnsetType | None = UNSET
    value_base64: bytes | UnsetType | None = UNSET
    headers: list[Header] | UnsetType = UNSET
    withheld: str | UnsetType = UNSET


class InwardRedriven(Shape, frozen=True, kw_only=True):
    """How many are tried again, as soon as a relay gets to it."""

    due: int


class Discarded(Shape, frozen=True, kw_only=True):
    """How many are gone."""

    discarded: int


class InwardDeadLetters(Resource[Via]):
    """Reading needs the scope `read`, all else `operate`."""

    @listing("/v1/inward-dead-letters")
    def list(
        self, *, limit: int = 50, cursor: str | None = None, connector_id: str | None = None
    ) -> Page[InwardDeadLetter]:
        """What could not enter, the oldest first, of one connector or of all."""

    @operation("GET", "/v1/inward-dead-letters/{id}")
    def read(self, id: str) -> WholeInwardDeadLetter:
        """One, with what it holds."""

    @operation("POST", "/v1/inward-dead-letters/redrive")
    def redrive(
        self, *, ids: Sequence[str] | UnsetType = UNSET, connector_id: str | UnsetType = UNSET
    ) -> InwardRedriven:
        """Tries these or all of a connector again: each enters, or is a dead letter still."""

    @operation("POST", "/v1/inward-dead-letters/discard")
    def discard(
        self, *, ids: Sequence[str] | UnsetType = UNSET, connector_id: str | UnsetType = UNSET
    ) -> Discarded:
        """Forgets these, or all of a connector, for ever."""
