"""What a code of SQS means for its message: an Answer.

A code comes as `AWS.SimpleQueueService.X`, as `X` or with a namespace before it: its last part
counts. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""

import re

from relay.push.http.answer import Answer, printable
from relay.push.policy.verdict import AWAY

# Words of an Answer that say something of the queue.
ABSENT, DENIED, REFUSED = "queue_absent", "queue_denied", "queue_refused"
OF_QUEUE = AWAY
THROTTLED = "throttled"
# What stands between may bound requests as well, and has no code of SQS.
TOO_LARGE = "RequestEntityTooLarge"

_ABSENT = frozenset({"QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "KmsAccessDenied",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "UnrecognizedClientException",
    }
)
# Of the key that a queue encrypts with: no message's fault, whatever SenderFault says.
_REFUSED = frozenset(
    {
        "DisabledException",
        "InvalidAddress",
        "InvalidKeyUsageException",
        "InvalidStateException",
        "KmsDisabled",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "NotFoundException",
        "OptInRequired",
        "RequestExpired",
        "UnsupportedOperation",
    }
)
_THROTTLED = frozenset(
    {
        "KmsThrottled",
        "OverLimit",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
# A whole request is refused for what one of its entries holds: believed of one that was sent alone.
OF_ONE = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidAttributeName",
        "InvalidAttributeValue",
        "InvalidMessageContents",
        "InvalidParameterValue",
        TOO_LARGE,
    }
)
_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")

ACKNOWLEDGED = 200


def last_part(code: str) -> str:
    """As it is compared and shown."""
    name = re.split(r"[.#]", code)[-1]
    return name if _WORD.fullmatch(name) else "unknown_code"


def of_entry(code: str, text: str, seconds: float, *, sender_fault: bool) -> Answer:
    """Of an entry that failed though its request succeeded."""
    code = last_part(code)
    about_queue = _of_queue(code, text, seconds)
    if about_queue is not None:
        return about_queue
    # The status is ours: an entry has none. 400: the message is at fault; 500: it is not.
    return _answer(400 if sender_fault else 500, code, code, text, seconds)


def of_request(code: str, text: str, status: int, seconds: float, *, alone: bool) -> Answer:
    """Of a request that failed as a whole; `alone`: it had one entry."""
    code = TOO_LARGE if status == 413 else last_part(code)
    about_queue = _of_queue(code, text, seconds)
    if about_queue is not None:
        return about_queue
    if status == 429:
        return _answer(429, THROTTLED, code, text, seconds)
    if status >= 500:
        return _answer(status, code, code, text, seconds)
    if code in OF_ONE:
        return _answer(400 if alone else 500, code, code, text, seconds)
    return _answer(None, REFUSED, code, text, seconds)


def _of_queue(code: str, text: str, seconds: float) -> Answer | None:
    if code in _THROTTLED:
        return _answer(429, THROTTLED, code, text, seconds)
    for word, codes in ((ABSENT, _ABSENT), (DENIED, _DENIED), (REFUSED, _REFUSED)):
        if code in codes:
            return _answer(None, word, code, text, seconds)
    return None


def _answer(status: int | None, word: str, code: str, text: str, seconds: float) -> Answer:
    detail = printable(f"{code}: {text}" if text else code)
    return Answer(status, word, detail, b"", None, None, seconds)


def acknowledged(seconds: float) -> Answer:
    """Of an entry that the queue has."""
    return Answer(ACKNOWLEDGED, None, "", b"", None, None, seconds)
