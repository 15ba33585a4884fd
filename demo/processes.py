"""Processes that are started, killed by SIGKILL and started again."""

import os
from collections.abc import Mapping
from pathlib import Path

from local.program import Program, script
from local.server import Server, StartError

COMMAND_TIMEOUT_SECONDS = 60.0

# What of the caller's environment would reach into these processes.
FOREIGN_SETTINGS = ("RELAY_", "SERVICE_", "WEBHOOK_", "OUTBOX_")


class Processes:
    """A company's programs by name.

    `kills` counts SIGKILLs by name; `down` are those that are not started, or were killed and are
    not back yet. `inherited` is the environment that each begins with, `logs` where they write.
    `servers` are what all of it runs on, which nobody kills.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN_SETTINGS)
        }
        self.programs: dict[str, Program] = {}
        self.kills: dict[str, int] = {}
        self.down: set[str] = set()
        self.servers: list[Server] = []

    def kill(self, name: str) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self.down.add(name)
        self.programs[name].kill()
        self.kills[name] += 1

    def launch(self, name: str) -> None:
        """Start it and wait until it is ready. Raises StartError."""
        self.programs[name].launch()
        self.down.discard(name)

    def check(self) -> None:
        """Raises StartError where a process or a server has died by itself."""
        for server in self.servers:
            if not server.running:
                raise StartError(f"{server.name} died:\n{server.log_tail()}")
        for name, program in self.programs.items():
            # Asked in this order: a kill from another thread is announced before it happens.
            if not program.running and name not in self.down:
                raise StartError(f"{program.name} died:\n{program.log_tail()}")

    def end(self) -> None:
        """Kills all of them: their work is done, or nobody waits for it any more."""
        for program in self.programs.values():
            program.kill()

    def relay_command(self, name: str, environment: Mapping[str, str], *arguments: str) -> str:
        """Runs `outbox-relay`; returns what it prints. Raises StartError with what it said."""
        program = Program(
            name,
            [script("outbox-relay"), *arguments],
            log=self.logs / f"{name}.log",
            environment=environment,
        )
        program.launch()
        try:
            status = program.wait(COMMAND_TIMEOUT_SECONDS)
        finally:
            program.kill()
        if status:
            raise StartError(f"outbox-relay {arguments[0]} failed:\n{program.log_tail()}")
        return program.output()

    def relay(self, name: str, port: int, prefix: str, environment: Mapping[str, str]) -> Program:
        """`outbox-relay run`, not started; `prefix` stands before its topics."""
        settings = {"RELAY_NAME": name, "RELAY_PORT": str(port), "RELAY_TOPIC_PREFIX": prefix}
        return Program(
            name,
            [script("outbox-relay"), "run"],
            log=self.logs / f"{name}.log",
            environment={**environment, **settings},
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
