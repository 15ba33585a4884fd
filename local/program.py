"""One of this project's own processes, the service or the relay, as its users run it."""

import http.client
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from local.server import Server


def script(name: str) -> Path:
    """A console script of the environment that this Python belongs to."""
    return Path(sys.executable).with_name(name)


class Program(Server):
    """A process with its output in a file, ready when its health URL says 200."""

    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL
    start_timeout_seconds = 30
    stop_timeout_seconds = 15
    start_attempts = 1

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str],
        ready_url: str | None = None,
    ):
        self.name = name
        self.log = log
        self.environment = environment
        self._command = command
        self._ready_url = ready_url

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str],
        ready_url: str | None = None,
    ) -> Self:
        """Start `command` and wait until `ready_url` answers 200; without one, don't wait.

        `environment` is the whole of it. Raises StartError with the end of its output.
        """
        program = cls(name, command, log=log, environment=environment, ready_url=ready_url)
        program.launch()
        return program

    def command(self) -> Sequence[str | Path]:
        return self._command

    def launch(self) -> None:
        """Start the process; with a health URL, wait for its 200. Raises StartError."""
        if self._ready_url is None:
            self.start_process()
        else:
            super().launch()

    def answers(self) -> bool:
        return self._ready_url is not None and get_status(self._ready_url) == 200

    def output(self) -> str:
        """Everything that it wrote so far, of all its lives."""
        return self.log.read_text(errors="replace")


def get_status(url: str, timeout_seconds: float = 2) -> int | None:
    """The HTTP status of a GET, None where no server answers. No proxy, no redirect."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
