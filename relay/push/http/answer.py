"""What came of one request."""

import msgspec

# Of an answer's body, as much is read and no more.
MAX_BODY_BYTES = 16_384
MAX_DETAIL_CHARACTERS = 300


class Answer(msgspec.Struct, frozen=True):
    """The receiver's answer, or why there is none.

    `status` is None where no answer came. `error` is None where the message is acknowledged (2xx),
    else a word:
      http_<status>      any other answer, and `redirect` for all of 3xx
      timeout            no answer, or not the whole of its head, in time
      dns, connect, tls  no connection: the name, the address or the handshake
      tls_expired, tls_untrusted, tls_wrong_host, tls_version, tls_too_large
                         what was wrong with the handshake, where that is known
      disconnected       the connection ended before an answer came
      protocol           what came is no HTTP answer
      forbidden_address  the endpoint leads to an address that is not public, or that is denied
      forbidden_port, https_only
                         the operator lets no request go there; nothing was sent
      url                the endpoint is no URL to send to; nothing was sent
      lease_over         the time to send was over; nothing was sent
      no_connection      this relay could open no connection; nothing was sent
      fault              this program could not make the request
    """

    status: int | None
    error: str | None
    # One printable sentence of at most 300 characters; "" where acknowledged.
    detail: str
    # The beginning of a failed answer's body, as it came.
    body: bytes
    # Two of the answer's headers.
    retry_after: str | None
    date: str | None
    seconds: float


def printable(text: str) -> str:
    """Bounded, and without what a terminal or a log would obey."""
    kept = text[: MAX_DETAIL_CHARACTERS + 1]
    kept = "".join(character if character.isprintable() else "?" for character in kept)
    return kept if len(kept) <= MAX_DETAIL_CHARACTERS else f"{kept[: MAX_DETAIL_CHARACTERS - 1]}…"


def unanswered(word: str, detail: str, seconds: float) -> Answer:
    """Of a request that got no answer, and why: a word of Answer, and a sentence."""
    return Answer(None, word, printable(detail), b"", None, None, seconds)
