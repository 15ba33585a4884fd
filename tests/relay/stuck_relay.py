"""`python -m tests.relay.stuck_relay CALL TIMES run`: a relay whose calls to librdkafka hang.

The first `TIMES` calls of the producer's method `CALL` stand in the C library and never return, as
https://github.com/confluentinc/librdkafka/issues/5456 does.
"""

import ctypes
import sys
from typing import Any

import confluent_kafka

from relay import cli
from relay.daemon import workers
from relay.kafka import producers
from relay.kafka.exactly_once import transactions

_libc = ctypes.CDLL(None)


def hang_in(call: str, times: int) -> None:
    """Makes the relay's producers hang; and has them given up after six seconds already."""
    left = [times]

    def hang(self: confluent_kafka.Producer, *arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            while True:
                _libc.pause()
        return getattr(confluent_kafka.Producer, call)(self, *arguments, **named)

    stuck = type("Producer", (confluent_kafka.Producer,), {call: hang})
    for module in (producers, transactions):
        vars(module)["Producer"] = stuck
    workers.MIN_STUCK_SECONDS = 0.0


if __name__ == "__main__":
    hang_in(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    sys.exit(cli.main())
