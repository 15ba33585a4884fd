r"""What fields may hold: the CHECKs of the schema `outbox`, as types.

Patterns end in `\Z`: Python's `$` would let a newline follow, which Postgres refuses.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from service.web.bodies.body import WITHOUT_NUL

# Of a body that holds one message: with room around the largest that there may be.
MAX_MESSAGE_BODY_BYTES = 1_048_576

# Ids are 64 bits wide, and JavaScript's numbers are not.
Id = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,17}\Z", description="An id, as a string.")]

_CHANNEL = r"[A-Za-z0-9._\-]{1,200}\Z"

ChannelId = Annotated[
    str,
    Meta(
        pattern=rf"^(?!\.{{1,2}}\Z){_CHANNEL}",
        description="A channel: at most 200 letters, digits, dots, dashes and underscores.",
    ),
]
PublishedChannelId = Annotated[
    str,
    Meta(
        pattern=rf"^(?!outbox\.)(?!\.{{1,2}}\Z){_CHANNEL}",
        description="A channel: at most 200 letters, digits, dots, dashes and underscores; "
        "those that begin with `outbox.` are the platform's own.",
    ),
]
EventType = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,255}\Z",
        description="The type of an event: at most 255 printable characters.",
    ),
]
EventTypeName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,199}\Z",
        description="A type of the catalogue: at most 200 letters, digits, dots, dashes and "
        "underscores.",
    ),
]
GroupKey = Annotated[
    str,
    Meta(
        max_length=1024,
        pattern=WITHOUT_NUL,
        description="Messages with one group key arrive in their order; at most 1024 bytes.",
    ),
]
Priority = Annotated[int, Meta(ge=1, le=5, description="1 is the highest.")]
IdempotencyKey = Annotated[
    str,
    Meta(
        pattern=r"^[!-\-/-~]{1,128}\Z",
        description="Goes to every consumer with the message; no dot and no space in it. "
        "Without it the message gets a UUID.",
    ),
]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,128}\Z",
        description="An HTTP token; not one that is the relay's, such as `ce-…`, `webhook-…` and "
        "`content-type`, or that frames, routes or authorises a request, such as `host` and "
        "`x-forwarded-…`; and each once, where case and punctuation are folded.",
    ),
]
HeaderValue = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z", description="Text without control characters.")
]
SubscriptionName = Annotated[
    str,
    Meta(
        pattern=r"^(?![0-9]+\Z)[A-Za-z0-9][A-Za-z0-9._\-]{0,99}\Z",
        description="Unique in any case; at most 100 letters, digits, dots, dashes and "
        "underscores; it begins with a letter or digit and is no number.",
    ),
]
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HEX = "[0-9A-Fa-f]{1,4}"
# Eight groups, or fewer with one `::` in them (RFC 4291, section 2.2, forms 1 and 2).
_IPV6 = "|".join(
    (
        rf"({_HEX}:){{7}}{_HEX}",
        *(rf"({_HEX}:){{{left}}}(:{_HEX}){{1,{7 - left}}}" for left in range(1, 7)),
        rf"({_HEX}:){{1,7}}:",
        rf":(:{_HEX}){{1,7}}",
    )
)
EndpointUrl = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=rf"^https?://({_LABEL}(\.{_LABEL})*\.?|\[({_IPV6})\])(:{_PORT})?"
        r"([/?][!\"$-~]*)?\Z",
        description="An http:// or https:// URL in ASCII, without user, password or fragment. "
        "Whether the relay may connect to its address is decided whenever it does.",
    ),
]
Reason = Annotated[
    str,
    # Not the pattern of a type: each pattern has one meaning.
    Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}\Z", description="At most 200 printable characters."),
]
Cursor = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?\Z",
        description="The `nextCursor` of the page before, as it is.",
    ),
]
# Postgres knows no years beyond; msgspec none before 1.
Time = Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset from UTC.")]
EventTypes = Annotated[
    list[EventType],
    Meta(min_length=1, max_length=100, description="Only events of these types; null: all."),
]
