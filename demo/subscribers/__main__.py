"""One subscriber: `python -m demo.subscribers NAME`.

From the environment: PORT, RECORD (its SQLite file), SECRET (shown at its subscription).
"""

import os
import sys
from contextlib import closing
from pathlib import Path

from demo.endpoint import listen
from demo.subscribers.effects import BORN_FAULTY, EFFECTS
from demo.subscribers.records import Record
from demo.subscribers.signature import key_of
from demo.subscribers.subscriber import Subscriber


def serve(name: str) -> None:
    """Receives until it is ended."""
    key = key_of(os.environ["SECRET"])
    with closing(Record(Path(os.environ["RECORD"]))) as record:
        subscriber = Subscriber(key, record, EFFECTS[name], faulty=name == BORN_FAULTY)
        listen(subscriber.app())


if __name__ == "__main__":
    serve(sys.argv[1])
