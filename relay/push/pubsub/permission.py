"""Which topics a connector may name: those that the operator allows."""

from relay.push import allowed
from relay.push.policy.settings import Topic
from relay.settings import Settings

HINT = "topic; it takes HOST/projects/PROJECT or HOST/projects/PROJECT/topics/TOPIC"


def demand(topic: Topic, settings: Settings) -> None:
    """Raises Away where it is not allowed. Looks its host up, which may take its time."""
    allowed.demand(topic.endpoint, f"/{topic.path}", topic.credentials, settings, HINT)
