"""TLS records on their way in, counted: most of what a peer may send in them is no data."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

# What TLS is given at once: what costs much and is no data is seen after so much of it.
MAX_READ_BYTES = 16_384

# Takes a step later, in its turn.
InTurn = Callable[[Callable[[], None]], None]


class Counts(Protocol):
    """What bounds them: the connection that they belong to."""

    # Of what has come in, TLS has not got all.
    waits: bool

    def count_records(self, size: int) -> bool:
        """So many bytes have come in, and what they hold of data is yet to be received.

        Whether TLS gets them in a turn that may be later. Where a handshake is too long by them,
        it is closed.
        """

    def check_records(self) -> None:
        """What they held of data has been received; where they are too many, it is closed."""


class Records(asyncio.BufferedProtocol):
    """Stands between a TCP transport and TLS.

    Empty records, tickets, key updates, requests to negotiate again: TLS takes them all in without
    a word to the reader of the data, and each may cost a key or an answer. Of a handshake, which
    holds no data, TLS gets nothing beyond the bound.
    """

    def __init__(
        self,
        carrier: asyncio.Transport,
        tls: asyncio.BufferedProtocol,
        counts: Counts,
        in_turn: InTurn,
    ) -> None:
        self._carrier = carrier
        self._tls = tls
        self._counts = counts
        self._in_turn = in_turn
        self.eof_received = tls.eof_received  # type: ignore[method-assign]
        self.connection_lost = tls.connection_lost  # type: ignore[method-assign]
        self.pause_writing = tls.pause_writing  # type: ignore[method-assign]
        self.resume_writing = tls.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return cast(memoryview, self._tls.get_buffer(sizehint))[:MAX_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._counts.count_records(nbytes):
            self._take(nbytes)
        elif not self._carrier.is_closing():
            # What came waits in the buffer that TLS lent, and nothing more is read into it.
            self._counts.waits = True
            self._carrier.pause_reading()
            self._in_turn(partial(self._step, nbytes))

    def _step(self, nbytes: int) -> None:
        self._counts.waits = False
        if not self._carrier.is_closing():
            self._carrier.resume_reading()
            self._take(nbytes)

    def _take(self, nbytes: int) -> None:
        self._tls.buffer_updated(nbytes)
        self._counts.check_records()


def count(carrier: asyncio.Transport, counts: Counts, in_turn: InTurn) -> None:
    """Counts what comes in by a TCP transport that TLS reads from already."""
    tls = cast(asyncio.BufferedProtocol, carrier.get_protocol())
    carrier.set_protocol(Records(carrier, tls, counts, in_turn))
