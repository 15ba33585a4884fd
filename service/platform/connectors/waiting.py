"""Why a connector waits, in words that every key may read.

A relay's own words tell what is behind an address: an open port, a name of the operator's network,
where the relay looks for credentials. Who may make connectors could try addresses by them.
"""

from service.web.access.authorization import Caller

# What stands at the relay's own words, and what of that every key may read.
_KNOWN = {
    "queue_absent": "the queue is not there",
    "queue_denied": "the queue denies it",
    "queue_refused": "the queue refuses it",
    "topic_absent": "the topic is not there",
    "UNKNOWN_TOPIC": "the topic is not there",
    "topic_denied": "the topic denies it",
    "TOPIC_AUTHORIZATION_FAILED": "the topic denies it",
    "topic_refused": "the topic refuses it",
    "outbox.quota": "there are more connectors than the quota allows",
}
_AWAY = "it can't be reached, or the relay may not go there: who runs the relay sees why"


def shown_reason(reason: str | None, caller: Caller) -> str | None:
    """The relay's own words for keys that operate and are not limited to channels; for all others
    one of a few sentences. None where it waits for nothing.
    """
    if reason is None or ("operate" in caller.scopes and caller.channels is None):
        return reason
    return next((said for word, said in _KNOWN.items() if word in reason), _AWAY)
