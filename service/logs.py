"""Logs: one line per event, for people on a terminal, else JSON for machines."""

import logging
import sys

import msgspec
import structlog
from structlog.typing import EventDict, Processor


def configure() -> None:
    """Sends structlog's and the standard library's records to standard output in one form."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    console = sys.stdout.isatty()
    last: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(serializer=_serialize)
    )
    exceptions: list[Processor] = [] if console else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, *exceptions, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    stream = logging.StreamHandler(sys.stdout)
    stream.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, *exceptions],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
    # Repeats itself for every connection of the pool at every attempt.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _serialize(event: EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
