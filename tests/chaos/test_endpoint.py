"""The endpoint's journal tells what was accepted, and whether it was signed."""

import base64
import time
from pathlib import Path

from relay.push.requests.signature import Signer
from tests.chaos.endpoint import Entry, Journal, read
from tests.receiver import OK, Received

KEY = bytes(range(32))


def post(journal: Journal, name: str, key: bytes) -> None:
    """Again until it is accepted: some are refused by chance."""
    stamp = int(time.time())
    signature = Signer([b"?" * 32, key]).sign(name.encode(), stamp, b"{}").decode()
    head = (
        f"POST / HTTP/1.1\r\nwebhook-id: {name}\r\nwebhook-timestamp: {stamp}\r\n"
        f"webhook-signature: {signature}"
    )
    while journal.react(Received("/", head.encode(), b"{}", 0.0, 1)) != OK:
        pass


def test_what_is_signed_with_another_key_is_noted_as_such(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, "whsec_" + base64.b64encode(KEY).decode())
    post(journal, "right:1", KEY)
    post(journal, "wrong:1", b"!" * 32)
    entries = dict.fromkeys(read(path))
    assert list(entries) == [
        Entry("/", "right:1", 2745614147, signed=True),
        Entry("/", "wrong:1", 2745614147, signed=False),
    ]
