"""What an endpoint answered, as it came."""

import re
from collections.abc import Iterable
from http import HTTPStatus

from relay.push.http.answer import MAX_BODY_BYTES, Answer, printable

# Of a header that is kept.
MAX_VALUE_BYTES = 300
# How long the names of those are that an answer is judged by: Date, Location, Retry-After.
KEPT_LENGTHS = frozenset({4, 8, 11})

Header = tuple[bytes, bytes]


def acknowledged(status: int, seconds: float) -> Answer:
    """An answer that acknowledges; what else it says is of no interest."""
    return Answer(status, None, "", b"", None, None, seconds)


def failed(status: int, headers: Iterable[Header], body: Iterable[bytes], seconds: float) -> Answer:
    """An answer that does not acknowledge; of `headers` the first of a name counts."""
    named: dict[bytes, bytes] = {}
    for name, value in headers:
        if not named.get(name.lower()):
            named[name.lower()] = value
    if 300 <= status < 400:
        word = "redirect"
        # Without its query, which may hold a secret.
        target = re.split(r"[?#]", _text(named.get(b"location")) or "")[0]
        detail = f"answered {status} to {target or 'nowhere'}, and redirects are never followed"
    else:
        word = f"http_{status}"
        detail = f"answered {status} {_phrase(status)}".rstrip()
    retry_after = _text(named.get(b"retry-after"))
    date = _text(named.get(b"date"))
    beginning = b"".join(body)[:MAX_BODY_BYTES]
    return Answer(status, word, printable(detail), beginning, retry_after, date, seconds)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:MAX_VALUE_BYTES].decode("latin-1")


def _phrase(status: int) -> str:
    """The standard's, and not the endpoint's: its words stay out of what is shown."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
