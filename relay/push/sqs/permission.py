"""Which queues and roles a connector may name: those that the operator allows."""

from urllib.parse import urlsplit

from relay.push import allowed
from relay.push.away import Away
from relay.push.policy.settings import Queue
from relay.settings import Settings

HINT = "queue; it takes HOST/ACCOUNT or HOST/ACCOUNT/NAME"


def demand(queue: Queue, settings: Settings) -> None:
    """Raises Away where it is not allowed. Looks its name up, which may take its time."""
    path = urlsplit(queue.queue_url).path
    allowed.demand(queue.queue_url, path, queue.credentials, settings, HINT)
    if queue.role_arn is not None and queue.role_arn not in settings.roles:
        raise Away(f"{queue.role_arn} is not among RELAY_ALLOW_ROLES")
