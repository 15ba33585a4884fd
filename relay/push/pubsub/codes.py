"""What a status code of Pub/Sub means for the messages of its request: an Answer.

https://cloud.google.com/pubsub/docs/reference/error-codes
"""

from relay.push.http.answer import Answer, printable

# Words of an Answer that say something of the topic.
ABSENT, DENIED, REFUSED = "topic_absent", "topic_denied", "topic_refused"
THROTTLED = "throttled"
# A request is refused for what one of its messages holds: believed of one that was sent alone.
OF_ONE = "INVALID_ARGUMENT"

_OF_TOPIC = {"NOT_FOUND": ABSENT, "PERMISSION_DENIED": DENIED, "UNAUTHENTICATED": DENIED}
# Nothing says whether the request came to anything.
_UNANSWERED = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"})
_FAILED = frozenset({"ABORTED", "INTERNAL", "UNKNOWN"})

ACKNOWLEDGED = 200


def of_call(code: str, text: str, seconds: float) -> Answer:
    """Of a call that failed; of OF_ONE as if it held one message.

    The status is ours: gRPC has none. 400: the message is at fault; 500: it is not.
    """
    if code == OF_ONE:
        return _answer(400, code, code, text, seconds)
    if code == "RESOURCE_EXHAUSTED":
        return _answer(429, THROTTLED, code, text, seconds)
    if code in _UNANSWERED:
        return _answer(None, code, code, text, seconds)
    if code in _FAILED:
        return _answer(500, code, code, text, seconds)
    return _answer(None, _OF_TOPIC.get(code, REFUSED), code, text, seconds)


def _answer(status: int | None, word: str, code: str, text: str, seconds: float) -> Answer:
    detail = printable(f"{code}: {text}" if text else code)
    return Answer(status, word, detail, b"", None, None, seconds)


def acknowledged(seconds: float) -> Answer:
    """Of what the topic has."""
    return Answer(ACKNOWLEDGED, None, "", b"", None, None, seconds)
