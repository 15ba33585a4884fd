"""Where the log goes: no request waits long for the log's reader, or fails because it is gone."""

import os
import select
import threading
import time
from typing import TextIO

# How long the writers wait for a slow reader in each second. While lines are lost they don't wait.
PATIENCE_SECONDS = 0.1


class LogStream:
    """Writes to a stream as a file does, but loses what can't be written now, and says how much.

    A pipe that its reader does not empty holds a writer for ever. A pipe without a reader is an
    error, and so is a full disk. None of them may end the work that the log tells of.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._lost = 0
        self._patience_seconds = PATIENCE_SECONDS
        self._second_ends_at = 0.0
        # The last line was cut off.
        self._cut = False

    def write(self, text: str) -> int:
        """Takes whole lines."""
        with self._lock:
            if self._put(self._told() + text if self._lost else text):
                self._lost = 0
            else:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _told(self) -> str:
        line = f'{{"event": "log_lines_lost", "level": "warning", "number": {self._lost}}}\n'
        return f"\n{line}" if self._cut else line

    def _put(self, text: str) -> bool:
        """Whether it could be written whole."""
        if self._stream is None:
            return True
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            # It is in memory.
            self._stream.write(text)
            return True
        data = memoryview(text.encode(self._stream.encoding or "ascii", "backslashreplace"))
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        written = 0
        try:
            while written < len(data) and self._wait_for_reader(ready):
                # No more than a pipe that is ready takes at once.
                written += os.write(descriptor, data[written : written + select.PIPE_BUF])
        except OSError:
            pass
        if written:
            self._cut = written < len(data)
        return written == len(data)

    def _wait_for_reader(self, ready: select.poll) -> bool:
        """Waits for what is left of this second's patience; whether the reader takes more."""
        now = time.monotonic()
        if now >= self._second_ends_at:
            self._second_ends_at = now + 1.0
            self._patience_seconds = PATIENCE_SECONDS
        takes = bool(ready.poll(0 if self._lost else self._patience_seconds * 1000))
        self._patience_seconds = max(self._patience_seconds - (time.monotonic() - now), 0.0)
        return takes
