"""What TLS has decrypted, on its way to the connection that it is for."""

import asyncio

# The largest record holds 16 KiB.
BUFFER_BYTES = 16_384
# One for all connections: what is in it is handed on before the next one gets it.
_buffer = memoryview(bytearray(BUFFER_BYTES))


class Decrypted(asyncio.BufferedProtocol):
    """Stands between TLS and the reader of the data.

    To a reader without a buffer TLS gives bytes of which it first makes 256 KiB, for each answer:
    memory that comes from the system and goes back to it, and takes longer than to decrypt them.
    """

    def __init__(self, reader: asyncio.Protocol) -> None:
        self._data_received = reader.data_received
        self.connection_lost = reader.connection_lost  # type: ignore[method-assign]
        self.pause_writing = reader.pause_writing  # type: ignore[method-assign]
        self.resume_writing = reader.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._data_received(bytes(_buffer[:nbytes]))
