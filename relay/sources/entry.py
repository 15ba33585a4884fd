"""What enters the log, and what can't."""

# Channel, type, group key, idempotency key, headers, content type and payload.
Entry = tuple[str, str, str | None, str, str | None, str, bytes]

# As outbox.message has it, of payload, group key and headers together.
MAX_BYTES = 983_040


class Refused(Exception):
    """It can't enter: the reason in a word, and what is wrong in a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def size(entry: Entry) -> int:
    """What the log's bound counts, in bytes."""
    _, _, group_key, _, headers, _, payload = entry
    return len(payload) + _bytes(group_key) + _bytes(headers)


def _bytes(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())
