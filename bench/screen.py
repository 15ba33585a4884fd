"""What a benchmark shows: news while it measures, and its table at the end."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
import psycopg
from rich.console import Console

from bench.figures import Section, table
from local.server import StartError

# Where no terminal says how wide it is.
WIDTH = 132
FAULTS = (StartError, RuntimeError, OSError, psycopg.Error, msgspec.DecodeError)

Measured = TypeVar("Measured")


class Screen:
    """A terminal, or a file to which it is led."""

    def __init__(self) -> None:
        self.console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
        self._began_at = time.monotonic()

    def tell(self, news: str) -> None:
        """A line, with the seconds since the start."""
        self.console.print(f"{time.monotonic() - self._began_at:5.0f} s  {news}", highlight=False)

    def show(self, sections: Sequence[Section]) -> None:
        """Their table, and what each was measured by."""
        self.console.print(table(sections))
        for section in sections:
            self.console.print(f"[bold]{section.title}:[/bold] {section.note}", highlight=False)

    def run(self, measuring: Iterable[Measured], show: Callable[[list[Measured]], object]) -> int:
        """Shows all that is measured. The exit status: 0, and 1 where it can't be measured."""
        measured: list[Measured] = []
        fault: Exception | None = None
        try:
            measured.extend(measuring)
        except FAULTS as error:
            # It comes one by one: what was measured before is worth its table.
            fault = error
        except KeyboardInterrupt:
            return 1
        if measured:
            show(measured)
        self.tell("the end")
        if fault is not None:
            print(fault, file=sys.stderr)
        return int(fault is not None)
