"""A server that ends with the process that started it."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, ClassVar, Self

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

# The death signal fires when the *thread* that forked ends, so one thread that lives as long as
# the interpreter does all the forking: a server restarted from a short-lived thread stays up.
FORKER = ThreadPoolExecutor(1, thread_name_prefix="forker")


class StartError(RuntimeError):
    """A server did not come up; the message carries the end of its log."""


def spawn(
    command: Sequence[str | Path],
    output: IO[bytes],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user_id: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that gets `death_signal` when its owner dies.

    On Linux by prctl(2), so kill -9 of the owner is covered. Elsewhere there is no such call, and
    a child outlives an owner that was killed; one that ends normally still stops its servers.
    """
    owner_pid = os.getpid()

    def die_with_owner() -> None:
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != owner_pid:  # It died between fork and prctl.
                os._exit(1)

    def fork() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            user=user_id,
            group=user_id,
            extra_groups=None if user_id is None else [],
            # Ctrl-C at the terminal goes to the owner alone, which stops its servers in order.
            start_new_session=True,
            preexec_fn=die_with_owner,
        )

    return FORKER.submit(fork).result()


def run(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    timeout_seconds: float,
    directory: Path | None = None,
    user_id: int | None = None,
) -> None:
    """Run a tool that ends by itself, its output appended to `log`.

    Raises StartError with the end of the log where it fails or takes longer than it may.
    """
    with (
        log.open("ab") as output,
        spawn(command, output, directory=directory, user_id=user_id) as process,
    ):
        try:
            status: int | str = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            status = f"no result after {timeout_seconds:.0f} s"
    if status:
        raise StartError(f"{name} ended with {status}:\n{tail(log)}")


def tail(log: Path, size: int = 4_000) -> str:
    """The last `size` bytes of a log."""
    return log.read_bytes()[-size:].decode(errors="replace") if log.exists() else ""


def free_port() -> int:
    """A loopback TCP port that no server listens on.

    Below the ports that the kernel hands to outgoing connections: a client that keeps redialling a
    server that is down can be given that very port as its own and connect to itself, and then the
    server can't have it back.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartError("no free TCP port between 15000 and 32000 on 127.0.0.1")


class Server(ABC):
    """One server process: started, stopped, killed, frozen and restarted by signal."""

    name: str
    stop_signal: ClassVar[signal.Signals]
    death_signal: ClassVar[signal.Signals]
    start_timeout_seconds: ClassVar[float] = 60
    stop_timeout_seconds: ClassVar[float] = 20
    # A server that was killed leaves children or a lock behind for a moment: one that exits while
    # starting is started again so often, half a second apart.
    start_attempts: ClassVar[int] = 10

    log: Path
    environment: Mapping[str, str] | None = None
    user_id: int | None = None
    _process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command line of the server."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server does what clients want of it, asked with a bounded wait."""

    @property
    def pid(self) -> int:
        """Process id of the server itself. Raises RuntimeError where it is not running."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start_process(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for anything."""
        with self.log.open("ab") as log:
            self._process = spawn(
                self.command(),
                log,
                death_signal=self.death_signal,
                environment=self.environment,
                user_id=self.user_id,
            )
        return self._process

    def launch(self) -> None:
        """Start the process and wait until it answers.

        Raises StartError when it keeps exiting, or after `start_timeout_seconds` without an answer.
        """
        deadline = time.monotonic() + self.start_timeout_seconds
        for _ in range(self.start_attempts):
            process = self.start_process()
            try:
                if self._wait_for_answer(process, deadline):
                    return
            except BaseException:  # Ctrl-C too: who gets no server back can't stop it.
                self.kill()
                raise
            self._process = None
            if self.start_attempts > 1:
                time.sleep(0.5)
        raise StartError(f"{self.name} exits with status {process.returncode}:\n{self.log_tail()}")

    def _wait_for_answer(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Whether it answers, False where it exits instead. Raises StartError at the deadline."""
        while process.poll() is None:
            if self.answers():
                return True
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.name} gave no answer within {self.start_timeout_seconds:.0f} s:\n"
                    f"{self.log_tail()}"
                )
            time.sleep(0.02)
        return False

    def stop(self) -> int | None:
        """End it in good order, or by SIGKILL after `stop_timeout_seconds`.

        Returns its exit status, negative for a signal; None where it was not running.
        """
        if self._process is None:
            return None
        self._process.send_signal(self.stop_signal)
        self._process.send_signal(signal.SIGCONT)  # A frozen process would never see the first.
        try:
            return self.wait(self.stop_timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def wait(self, timeout_seconds: float) -> int:
        """Wait for a process that ends by itself; returns its exit status.

        Raises subprocess.TimeoutExpired, and RuntimeError where none is running.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        status = self._process.wait(timeout_seconds)
        self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL: what a crash or the out-of-memory killer does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Come back on the same port with the same data, after stop, kill or while running."""
        self.stop()
        self.launch()

    def pause(self) -> None:
        """Freeze the process: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Wake a frozen process."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, size: int = 4_000) -> str:
        """The last `size` bytes of what the server wrote."""
        return tail(self.log, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
