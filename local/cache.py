"""What is fetched once: the user's cache folder, outside any checkout, and who may fetch."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from local.server import StartError

LOCK_TIMEOUT_SECONDS = 600


def cache_dir() -> Path:
    """Where it is kept between runs."""
    return platformdirs.user_cache_path("outbox-relay", appauthor=False)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go of it when the holder dies."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StartError(f"another process has held {path} for too long") from None
                time.sleep(0.1)
        yield
