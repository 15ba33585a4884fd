"""Connectors that get no session with their cluster, and why.

Each session has threads, sockets, queues and a connection to the database, and users of the API
name clusters. The database refuses connectors that are too many where they are made
(sql/migrations/025_connector.sql). Here it is held where a quota was lowered, and where sessions do
not end.
"""

from collections.abc import Set
from typing import Any

import structlog

from relay.daemon.worker import Worker
from relay.database import Connection, transaction
from relay.log.cursor import Cursor
from relay.log.waiting_note import note_waiting
from relay.process.interval import Interval

logger = structlog.get_logger()

BEYOND_QUOTA = "there are more connectors to other clusters than outbox.quota allows"
# So many sessions of one owner's connectors may be about to end, as where these are made and
# deleted in turn, or stand in calls that do not return, which only the process's end gets rid of.
MAX_LEFT = 20
# How often the log says it.
TELL_SECONDS = 60.0


class RefusedConnectors:
    """Of one relay. Used by one thread."""

    def __init__(self, relay: str) -> None:
        self._relay = relay
        self._beyond_quota: Set[int] = frozenset()
        self._ending: list[Worker[Any]] = []
        self._stuck: list[Worker[Any]] = []
        # Why, of those that had work since it was last noted.
        self._refused: dict[int, str] = {}
        self._telling = Interval(TELL_SECONDS)

    @property
    def stuck(self) -> int:
        """How many threads stand in calls to connectors' clusters that do not return."""
        self._forget()
        return len(self._stuck)

    def end(self, worker: Worker[Any]) -> None:
        """Its session ends in a moment."""
        self._ending.append(worker)

    def abandon(self, worker: Worker[Any]) -> None:
        """It stands in a call that does not return."""
        self._stuck.append(worker)

    def update(self, beyond_quota: Set[int]) -> None:
        """These subscriptions are beyond the quota."""
        self._beyond_quota = beyond_quota

    def refuses(self, cursor: Cursor) -> bool:
        """Whether it may have no session, nor go on with one."""
        return cursor.subscription_id in self._beyond_quota and self.refuses_to_begin(cursor)

    def refuses_to_begin(self, cursor: Cursor) -> bool:
        """Whether no session may begin with where it goes."""
        reason = self.reason(cursor)
        if reason is not None:
            self._refused[cursor.subscription_id] = reason
        return reason is not None

    def reason(self, cursor: Cursor) -> str | None:
        """Why no session may begin with where it goes; None where one may."""
        cluster = cursor.other_cluster
        if not cluster:
            return None
        if cursor.subscription_id in self._beyond_quota:
            return BEYOND_QUOTA
        self._forget()
        if any(worker.cluster == cluster for worker in self._stuck):
            return "a call to this cluster does not return: restart the relay once it answers"
        left = sum(worker.made_by == cursor.made_by for worker in self._ending + self._stuck)
        if left >= MAX_LEFT:
            whose = "operators" if cursor.made_by is None else f"API keys named {cursor.made_by}"
            return f"{left} sessions of connectors that {whose} made have not ended yet"
        return None

    def _forget(self) -> None:
        self._ending = [worker for worker in self._ending if worker.alive]
        self._stuck = [worker for worker in self._stuck if worker.alive]

    def tell(self, connection: Connection) -> None:
        """Lets `outbox-relay status` and the log say it. Raises psycopg.Error."""
        refused, self._refused = self._refused, {}
        if not refused:
            return
        with transaction(connection):
            for subscription_id, reason in refused.items():
                note_waiting(connection, subscription_id, f"relay {self._relay}: {reason}")
        if self._telling.begin_if_over():
            logger.warning(
                "connectors_get_no_session",
                number=len(refused),
                reasons=sorted(set(refused.values())),
                hint="outbox-relay connectors names them",
            )
