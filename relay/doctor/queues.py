"""What the doctor finds about a queue: whether this relay reaches it, and what it lacks."""

from collections.abc import Iterator

import msgspec

from relay.doctor.finding import Finding, ok
from relay.push.away import Away
from relay.push.policy.settings import Queue, Receiver
from relay.push.sqs import codes
from relay.push.sqs.client import Client, fault
from relay.settings import Settings

# A queue that does not answer keeps nobody longer.
TIMEOUT_SECONDS = 5.0
HINTS = {
    codes.ABSENT: "make the queue, or correct queue_url",
    codes.DENIED: "allow sqs:SendMessage and sqs:GetQueueAttributes to whom the connector names",
}
HINT = (
    "correct the connector's config, or give this relay what it lacks: RELAY_CREDENTIALS_…, "
    "RELAY_ALLOW_HOSTS, RELAY_ALLOW_ROLES, the extra sqs"
)


def look(name: str, to: Receiver, settings: Settings) -> Iterator[Finding]:
    """By GetQueueAttributes, and nothing is sent."""
    assert isinstance(to, Queue)
    try:
        client = Client(msgspec.structs.replace(to, timeout_seconds=TIMEOUT_SECONDS), settings)
    except Away as away:
        yield Finding("fault", "connector", f"{name}: {away}", HINT)
        return
    except Exception as wrong:
        text = f"{name}: no client can be made for its queue: {type(wrong).__name__}"
        yield Finding("fault", "connector", text, HINT)
        return
    try:
        limit = client.most_bytes_of(client.attributes())
    except Away as away:
        yield Finding("fault", "connector", f"{name}: {away}", HINT)
        return
    except Exception as wrong:
        answer = fault(wrong, 0.0, alone=True)
        hint = HINTS.get(answer.error or "", HINT)
        # Who may send need not be allowed to read attributes.
        denied = answer.error == codes.DENIED
        yield Finding(
            "warning" if denied else "fault",
            "connector",
            f"{name}: {answer.error}: {answer.detail}",
            hint,
        )
        return
    finally:
        client.close()
    yield ok("connector", f"{name} reaches its queue, which takes messages of {limit} bytes")
