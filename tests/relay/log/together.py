"""Cursors of one relay that follow the log together, for tests."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from relay.log.cursor import Cursor, SinkSettings
from relay.log.message import ID
from relay.log.run import Ran
from relay.log.sink import Outcome, Page, Stopped
from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session, publish

SUBSCRIBE = """
insert into outbox.subscription (name, channels, types, settings)
values (%(name)s, %(channels)s, %(types)s, jsonb_build_object('topic_prefix', %(name)s || '.'))
"""


FILL = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'event', 'g' || n %% 10, '{}' from generate_series(1, %s) as n
"""


class SharedSink(RecordingSink):
    """Remembers what each taker got, by its prefix; one of them may stop before a message."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.pages = 0
        self.stops: dict[str, int] = {}

    def deliver(
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
    ) -> list[Outcome]:
        names = [taker.topic_prefix.rstrip(".") for taker in takers]
        taken: list[list[int]] = [[] for _ in takers]
        stopped: list[Stopped | None] = [None] * len(takers)
        for rows, places in pages:
            self.pages += 1
            for place in places:
                stop_id = self.stops.get(names[place])
                for row in rows:
                    if row[ID] == stop_id:
                        stopped[place] = Stopped(row[ID], alone=True)
                    if stopped[place] is None:
                        taken[place].append(row[ID])
        self.delivered()
        for name, ids in zip(names, taken, strict=True):
            self.taken[name] += ids
        return [
            Outcome(len(ids), 2 * len(ids), [0] * len(ids), [], stop, ids[-1] if ids else 0)
            for ids, stop in zip(taken, stopped, strict=True)
        ]


def subscribe(
    db: Session,
    *names: str,
    channels: list[str] | None = None,
    types: list[str] | None = None,
) -> None:
    for name in names:
        db.execute(SUBSCRIBE, {"name": name, "channels": channels, "types": types})


def run(relay: Relay, *, again: bool = False) -> dict[str, Ran]:
    """One run of all that have work, by subscription and priority."""
    cursors = relay.probe()
    ran = relay.run_together(cursors, again=again)
    return {_name(one): ran[one.id] for one in cursors if one.id in ran}


def _name(cursor: Cursor) -> str:
    name = cursor.subscription
    return name if cursor.priority == 3 else f"{name} {cursor.priority}"


def follow(db: Session, relay: Relay, sink: SharedSink) -> None:
    """All cursors come to stand at one place, as they do after a run."""
    publish(db)
    run(relay)
    sink.taken.clear()
    sink.pages = 0
