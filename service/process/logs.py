"""Logs: one line per event, for people on a terminal, else JSON for machines."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from service.process.log_stream import LogStream

# A path, a method, a type of event, an error: the sender of a request chooses words of it.
MAX_WORD_LENGTH = 300
MAX_TRACEBACK_LENGTH = 16_384


def configure() -> None:
    """Sends structlog's and the standard library's records to standard output in one form."""
    output = LogStream(sys.stdout)
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        cut,
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stdout is not None and sys.stdout.isatty()
        else structlog.processors.JSONRenderer(serializer=_serialize)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, output)),
        cache_logger_on_first_use=True,
    )
    stream = logging.StreamHandler(output)
    stream.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
    # Repeats itself for every connection of the pool at every attempt.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def cut(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that bounds every text of a line, so that no sender's words fill the log."""
    for name, value in event.items():
        longest = MAX_TRACEBACK_LENGTH if name == "exception" else MAX_WORD_LENGTH
        if isinstance(value, str) and len(value) > longest:
            event[name] = value[:longest] + "…"
    return event


def _serialize(event: EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
