"""The process that checks: answers what it is asked at its standard input until that ends."""

import functools
import resource
import signal
import sys

from catalogue import schema
from catalogue.closing import close
from catalogue.validation import Validator
from service.checking.frames import LENGTH, QUESTIONS, framed

# Of this process' own time, for all that one request asks. Four megabytes of payloads, as much as
# a request holds, take some tenths of it.
CHECK_SECONDS = 1.0
MEMORY_BYTES = 256 << 20
# A validator takes up to some megabytes, by its patterns.
VALIDATORS = 64


@functools.lru_cache(maxsize=VALIDATORS)
def validator(written: str) -> Validator:
    """Of the schema as publishers are held to it."""
    return Validator(close(schema.parse(written.encode())))


def main() -> None:
    """Ends by SIGPROF where it takes too long, and aborts where it takes too much memory."""
    # Who stops the service and all of its processes stops this one by the service, which may
    # still have something to ask.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while length := asked.read(LENGTH.size):
        questions = QUESTIONS.decode(asked.read(*LENGTH.unpack(length)))
        signal.setitimer(signal.ITIMER_PROF, CHECK_SECONDS)
        faults = [validator(one.schema).faults(one.payload, one.at_most) for one in questions]
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(framed(faults))
        answers.flush()


if __name__ == "__main__":
    main()
