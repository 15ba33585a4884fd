"""TLS records on their way in, counted: most of what a peer may send in them is no data."""

import asyncio
from typing import Protocol, cast


class Counts(Protocol):
    """What bounds them: the connection that they belong to."""

    def count_records(self, size: int) -> None:
        """So many bytes have come in, and what they hold of data is yet to be received."""

    def check_records(self) -> None:
        """What they held of data has been received."""


class Records(asyncio.BufferedProtocol):
    """Stands between a TCP transport and TLS.

    Empty records, tickets, key updates, requests to negotiate again: TLS takes them all in without
    a word to the reader of the data, and each may cost a key or an answer.
    """

    def __init__(self, tls: asyncio.BufferedProtocol, counts: Counts) -> None:
        self._tls = tls
        self._counts = counts
        self.get_buffer = tls.get_buffer  # type: ignore[method-assign]
        self.eof_received = tls.eof_received  # type: ignore[method-assign]
        self.connection_lost = tls.connection_lost  # type: ignore[method-assign]
        self.pause_writing = tls.pause_writing  # type: ignore[method-assign]
        self.resume_writing = tls.resume_writing  # type: ignore[method-assign]

    def buffer_updated(self, nbytes: int) -> None:
        self._counts.count_records(nbytes)
        self._tls.buffer_updated(nbytes)
        self._counts.check_records()


def count(carrier: asyncio.Transport, counts: Counts) -> None:
    """Counts what comes in by a TCP transport that TLS reads from already."""
    carrier.set_protocol(Records(cast(asyncio.BufferedProtocol, carrier.get_protocol()), counts))
