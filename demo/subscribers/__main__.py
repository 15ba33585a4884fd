"""One subscriber: `python -m demo.subscribers NAME`.

From the environment: PORT, RECORD (its SQLite file), SECRET (shown at its subscription).
"""

import os
import sys
from contextlib import closing
from pathlib import Path

import uvicorn

from demo.subscribers.effects import BORN_FAULTY, EFFECTS
from demo.subscribers.records import Record
from demo.subscribers.signature import key_of
from demo.subscribers.subscriber import Subscriber

# Longer than the relay keeps a connection that it doesn't use: never closed in its face.
KEEP_ALIVE_SECONDS = 60


def serve(name: str) -> None:
    """Receives until it is ended."""
    key = key_of(os.environ["SECRET"])
    with closing(Record(Path(os.environ["RECORD"]))) as record:
        subscriber = Subscriber(key, record, EFFECTS[name], faulty=name == BORN_FAULTY)
        uvicorn.run(
            subscriber.app(),
            host="127.0.0.1",
            port=int(os.environ["PORT"]),
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )


if __name__ == "__main__":
    serve(sys.argv[1])
