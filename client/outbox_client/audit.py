"""The audit: which key changed what, and when."""

from datetime import datetime

from outbox_client.operation import Resource, Via, listing
from outbox_client.pages import Page
from outbox_client.shape import Shape


class AuditEntry(Shape, frozen=True, kw_only=True):
    """One change, and which key made it.

    `subject` is the name of what was changed, `subject_id` the id of a subscription or connector.
    """

    id: str
    at: datetime
    key_id: str
    key_name: str
    by_console: bool
    action: str
    subject: str
    subject_id: str | None
    summary: str


class Audit(Resource[Via]):
    """It needs the scope `read`."""

    @listing("/v1/audit")
    def list(
        self, *, limit: int = 50, cursor: str | None = None, subscription_id: str | None = None
    ) -> Page[AuditEntry]:
        """Changes, the newest first; of one subscription or connector, or of all.

        A key that is limited to channels sees what keys of its own name did.
        """
