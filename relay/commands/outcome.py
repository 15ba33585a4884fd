"""How a command of `outbox-relay` ends: its exit code, and what it says on standard error."""

import sys

from relay.operate.table import printable
from relay.process.log_stream import LogStream

DONE, FAULT, BAD_CONFIGURATION = 0, 1, 2


def complain(code: int, *faults: str) -> int:
    """Tells what is wrong on standard error, and returns `code`.

    A reader of standard error that is slow or gone does not hold the command up.
    """
    for fault in faults:
        LogStream(sys.stderr).write(f"outbox-relay: {printable(fault)}\n")
    return code
