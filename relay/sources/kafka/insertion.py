"""The transaction of one batch: it may have a thread of its own, while the next batch is read."""

import threading
from collections.abc import Callable

from relay.sources.kafka.batch import Batch


class Insertion:
    """`insert` takes the batch in. From `begin` to the end of `end` it has the connection alone."""

    def __init__(self, batch: Batch, insert: Callable[[], None]) -> None:
        self.batch = batch
        self._insert = insert
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def begin(self) -> None:
        """From now on in a thread of its own."""
        # A thread for each: it costs little beside a batch, and none is left of a session.
        self._thread = threading.Thread(target=self._run, name="insertion", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Waits until it is over; one that did not begin takes place here. Raises what it does."""
        if self._thread is None:
            self._insert()
            return
        self._thread.join()
        if self._fault is not None:
            try:
                raise self._fault
            finally:
                # Its traceback leads here, and to the reader of the session that ends by it: in a
                # circle with them a client, its threads and sockets, would last until the next
                # collection.
                self._fault = None

    def _run(self) -> None:
        try:
            self._insert()
        except BaseException as fault:
            self._fault = fault
