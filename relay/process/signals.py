"""How the relay is told to stop."""

import os
import signal
import threading

import structlog

logger = structlog.get_logger()

# After the first signal; a supervisor kills at 10 s or later.
STOP_SECONDS = 9.5


def stop_on_signals(stop: threading.Event) -> None:
    """The first SIGTERM or SIGINT sets `stop`; a second one, or 9.5 s, ends the process at once.

    Taken by a thread that waits for them: a handler would run in the main thread only, and wait
    for whatever that has called. Ended so, the relay loses nothing: what is not checkpointed goes
    out again.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    # Threads inherit this mask, so that only the one below gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        logger.info("stopping", signal=signal.Signals(signal.sigwait(signals)).name)
        stop.set()
        impatience = threading.Timer(STOP_SECONDS, os._exit, (1,))
        impatience.daemon = True
        impatience.start()
        signal.sigwait(signals)
        os._exit(1)

    threading.Thread(target=wait, name="signals", daemon=True).start()
