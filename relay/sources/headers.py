"""Which headers of a foreign message the log takes: outbox.headers_fault has the rules.

One that it would refuse is left out, so that the message enters without it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

MAX_HEADERS = 100
MAX_BYTES = 16_384
MAX_NAME = 128

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FOLD = str.maketrans("!#$%&'*+.^_`|~", "-" * 14)
# What a message may not set, as the log folds names.
_NOT_ITS_OWN = re.compile(
    r"(ce|webhook|proxy|sec|x-forwarded|x-original|x-rewrite|x-http-method)(-|\Z)"
    r"|(idempotency-key|content-type|replayed"
    r"|connection|keep-alive|te|trailer|trailers|transfer-encoding|upgrade|http2-settings"
    r"|content-length|expect|accept|accept-encoding|user-agent"
    r"|host|x-host|forwarded|via|x-method-override"
    r"|authorization|cookie|cookie2|set-cookie|set-cookie2"
    r"|x-real-ip|x-client-ip|x-cluster-client-ip|client-ip|true-client-ip|cf-connecting-ip)\Z"
)


def encoded(names: Sequence[str], values: Sequence[str]) -> str | None:
    """The JSON that the log keeps of these, of a name that comes twice the last; None: nothing.

    Where they are too many or too large, the first ones stay.
    """
    # Much that is not printable is no control character either.
    if not "".join(values).isprintable():
        clean = [place for place, value in enumerate(values) if not _CONTROL.search(value)]
        names, values = [names[place] for place in clean], [values[place] for place in clean]
    kept = {names[place]: values[place] for place in taken(names)}
    while kept:
        text = msgspec.json.encode(kept)
        if len(text) <= MAX_BYTES:
            return text.decode()
        kept.popitem()
    return None


def taken(names: Sequence[str]) -> Sequence[int]:
    """The places of those that the log takes, if their values allow it."""
    kept: dict[str, int] = {}
    for place, name in enumerate(names):
        folded = fold(name)
        if folded:
            kept[folded] = place
    return list(kept.values())[:MAX_HEADERS]


def fold(name: str) -> str:
    """The name as servers compare it; empty where a message may not have it."""
    # None that is too long is remembered.
    return _folded(name) if len(name) <= MAX_NAME else ""


@lru_cache(1000)
def _folded(name: str) -> str:
    if not _TOKEN.match(name):
        return ""
    folded = name.lower().translate(_FOLD)
    return "" if _NOT_ITS_OWN.match(folded) else folded
