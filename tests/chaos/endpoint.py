"""The webhooks' receiver: a process of its own that fails by itself and journals what it accepts.

A request is accepted once it is in the journal, which outlives a kill; its answer may get lost.
"""

import argparse
import base64
import hmac
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple
from zlib import crc32

from tests.receiver import OK, Reaction, Received, Receiver, cut, hang, respond

HEALTH_PATH = "/healthz"
# Of all requests, one in so many is refused, never answered, cut off, or accepted and cut off.
REFUSED, HUNG, CUT, FORGOTTEN = 40, 400, 200, 200


class Entry(NamedTuple):
    """A request that was accepted; `signed` as the subscription's secret wants it."""

    path: str
    idempotency_key: str
    checksum: int
    signed: bool


def read(journal: Path) -> Iterator[Entry]:
    """Everything that was accepted, in its order."""
    if journal.exists():
        with journal.open() as lines:
            for line in lines:
                checksum, signed, path, key = line.rstrip("\n").split(" ", 3)
                yield Entry(path, key, int(checksum), signed == "signed")


class Journal:
    """Accepts what it is asked to, or fails as chance has it."""

    def __init__(self, path: Path, secret: str) -> None:
        # One write a line, so that a kill leaves no half of one.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._random = Random()

    def react(self, request: Received) -> Reaction:
        if request.path == HEALTH_PATH:
            return OK
        for odds, reaction in ((REFUSED, respond(500)), (HUNG, hang), (CUT, cut)):
            if self._random.randrange(odds) == 0:
                return reaction
        self._accept(request)
        return cut if self._random.randrange(FORGOTTEN) == 0 else OK

    def _accept(self, request: Received) -> None:
        key = request.header("webhook-id")
        stamp = request.header("webhook-timestamp")
        said = f"{key}.{stamp}.".encode() + request.body
        digest = hmac.digest(self._key, said, "sha256")
        right = f"v1,{base64.b64encode(digest).decode()}"
        signed = "signed" if right in request.header("webhook-signature").split() else "unsigned"
        os.write(self._file, f"{crc32(request.body)} {signed} {request.path} {key}\n".encode())


def main() -> None:
    """Serves until SIGTERM. The secret comes by the environment: ENDPOINT_SECRET."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.endpoint")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    arguments = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    receiver = Receiver(Journal(arguments.journal, os.environ["ENDPOINT_SECRET"]).react)
    receiver.port = arguments.port
    with receiver:
        stop.wait()


if __name__ == "__main__":
    main()
