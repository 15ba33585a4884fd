"""What the relay says while it runs: one line for each event, on standard error."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import msgspec
import structlog

from relay.process.log_stream import LogStream

# A channel, an error, what a broker or a server says: others choose words of it.
MAX_WORD_LENGTH = 1000
MAX_TRACEBACK_LENGTH = 16_384


def configure(level: str) -> None:
    """Readable lines on a terminal, else JSON; `level` as in Settings.log_level."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: list[Any] = (
        # Without the rich traceback: it would print local variables, and secrets are among them.
        [cut, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, cut, structlog.processors.JSONRenderer(_json)]
    )
    # What goes wrong is raised, and told where it is caught.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # Writes a line at once, so that threads don't mix theirs.
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, LogStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def cut(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that bounds every text of a line, so that no other's words fill the log."""
    for name, value in event.items():
        longest = MAX_TRACEBACK_LENGTH if name == "exception" else MAX_WORD_LENGTH
        if isinstance(value, str) and len(value) > longest:
            event[name] = value[:longest] + "…"
    return event


def _json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
