"""Which keys a subscription's requests are signed with; nothing goes where they can't be had."""

import time
from collections.abc import Iterable

import structlog

from relay.database import Connection, transaction
from relay.keyring import CannotOpenError, Keyring, Keys
from relay.log.cursor import Cursor
from relay.log.waiting_note import note_waiting
from relay.monitoring.telemetry import Telemetry
from relay.push.subscription_state import Secret

logger = structlog.get_logger()

# How often it is said that a subscription waits.
TELL_SECONDS = 60.0

SECRETS = """
select x.key, x.sealed from outbox.secret x
where x.subscription_id = %s and (x.expires_at is null or x.expires_at > clock_timestamp())
"""


def open_keys(keyring: Keyring, secrets: Iterable[Secret]) -> Keys:
    """Those of a subscription; none where it has none. Raises CannotOpenError."""
    keys = Keys()
    for key, sealed in secrets:
        opened = key if sealed is None else keyring.open(sealed)
        if opened is not None:
            keys.append(opened)
    return keys


class Signing:
    """The secrets of one subscription; one that does not open keeps all of it waiting.

    With the others alone it could sign, but not for a receiver that has only the one.
    """

    def __init__(self, keyring: Keyring, telemetry: Telemetry) -> None:
        self._keyring = keyring
        self._telemetry = telemetry
        self._fault: str | None = None
        self._told_at = float("-inf")

    def check_still_waiting(self, connection: Connection, cursor: Cursor) -> bool:
        """Whether it waited at the last run, and would again.

        Asked before the cursor is claimed, so that what waits for days writes nothing.
        """
        if self._fault is None:
            return False
        with transaction(connection):
            rows = connection.execute(SECRETS, (cursor.subscription_id,)).fetchall()
        keys = self._open(rows)
        if keys is None:
            self._tell(cursor)
        return keys is None

    def keys(
        self, connection: Connection, cursor: Cursor, rows: Iterable[Secret], *, waits: bool
    ) -> Keys | None:
        """The keys of a claimed cursor; None where one can't be had, which its subscription notes.

        `waits`: such a note is there.
        """
        keys = self._open(rows)
        if keys is None:
            self._tell(cursor)
        if waits or keys is None:
            note_waiting(connection, cursor.subscription_id, self._fault)
        return keys

    def _open(self, rows: Iterable[Secret]) -> Keys | None:
        try:
            keys = open_keys(self._keyring, rows)
        except CannotOpenError as fault:
            self._fault = f"its secret {fault}"
            return None
        self._fault = None if keys else "it has no secret"
        return keys or None

    def _tell(self, cursor: Cursor) -> None:
        if time.monotonic() < self._told_at + TELL_SECONDS:
            return
        self._told_at = time.monotonic()
        self._telemetry.fault(cursor.subscription, "secret")
        logger.error(
            "subscription_waits",
            subscription=cursor.subscription,
            reason=self._fault,
            hint="give the relay the OUTBOX_SECRET_KEY that it was sealed with, or make a new one: "
            "outbox-relay subscriptions rotate-secret NAME --revoke-old now",
        )
