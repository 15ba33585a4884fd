"""What the doctor finds about a topic of Pub/Sub: whether this relay may send there."""

from collections.abc import Iterator

from relay.doctor.finding import Finding, ok
from relay.push.away import Away
from relay.push.policy.settings import Receiver, Topic
from relay.push.pubsub import codes
from relay.push.pubsub.client import PUBLISH, Client
from relay.settings import Settings

HINTS = {
    codes.ABSENT: "make the topic, or correct project and topic",
    codes.DENIED: f"allow {PUBLISH} to whom the connector names, as roles/pubsub.publisher does",
}
HINT = (
    "correct the connector's config, or give this relay what it lacks: "
    "RELAY_CREDENTIALS_…_SERVICE_ACCOUNT, RELAY_ALLOW_HOSTS, the extra pubsub"
)


def look(name: str, to: Receiver, settings: Settings) -> Iterator[Finding]:
    """By TestIamPermissions and GetTopic, and nothing is sent."""
    assert isinstance(to, Topic)
    try:
        client = Client(to, settings)
    except Away as away:
        yield Finding("fault", "connector", f"{name}: {away}", HINT)
        return
    except Exception as wrong:
        text = f"{name}: no client can be made for its topic: {type(wrong).__name__}"
        yield Finding("fault", "connector", text, HINT)
        return
    try:
        may_publish, lacking = client.may_publish(), client.look()
    finally:
        client.close()
    # Who may send need not be allowed to look.
    if may_publish or (may_publish is None and lacking is None):
        yield ok("connector", f"{name} reaches {to.path}, and may publish there")
    elif lacking is not None:
        text = f"{name}: {to.path}: {lacking.error}: {lacking.detail}"
        yield Finding("fault", "connector", text, HINTS.get(lacking.error or "", HINT))
    else:
        text = f"{name}: {to.path}: {codes.DENIED}: it lacks {PUBLISH}"
        yield Finding("fault", "connector", text, HINTS[codes.DENIED])
