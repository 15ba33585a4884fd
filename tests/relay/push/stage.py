"""The set of the push tests: a log of their own, a receiver, and relays that are moved by hand."""

import itertools
from collections.abc import Iterable
from typing import Any, LiteralString, Self

from psycopg.types.json import Jsonb

from relay.database import connect, pool
from relay.log.cursor import Cursor
from relay.log.probe import probe
from relay.log.reading import RUN_MESSAGES
from relay.log.run import Ran
from relay.monitoring.telemetry import Telemetry
from relay.push.requests.loop import RequestLoop
from relay.push.runs import PushRuns
from tests.receiver import OK, Reaction, Received, Receiver
from tests.relay.operating import settings
from tests.sql.log import Session, one

ALLOWED = {"RELAY_ALLOW_NETWORKS": "127.0.0.1/32"}
# Every attempt is due at once, and no breaker opens: what a test leaves alone stays out of it.
AT_ONCE = {"schedule_seconds": [0] * 50, "jitter": 0}
NEVER_OPENS = {"minimum": 1_000_000}
LATER = {"schedule_seconds": [600], "jitter": 0}
# More than any test's messages need.
MAX_ROUNDS = 1000

_numbers = itertools.count(1)


class PushRelay:
    """One relay's session and request loop; its rounds are the test's."""

    def __init__(
        self,
        database_url: str,
        name: str | None = None,
        *,
        secret_key: str = "",
        **environment: str,
    ) -> None:
        self.settings = settings(
            database_url,
            RELAY_NAME=name or f"relay-{next(_numbers)}",
            OUTBOX_SECRET_KEY=secret_key,
            **ALLOWED,
            **environment,
        )
        self.telemetry = Telemetry()
        self.connection = connect(self.settings)
        self.connections = pool(self.settings)
        self.request_loop = RequestLoop(self.settings, self.telemetry)
        self._runs: dict[int, PushRuns] = {}
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.end()
        self.connections.close(1.0)

    def end(self) -> None:
        """Waits for its requests and writes down what came late, as at a stop."""
        if not self._ended:
            self._ended = True
            self.request_loop.close(2.0)

    def probe(self) -> list[Cursor]:
        """The cursors of endpoints and queues that have work."""
        return [one for one in probe(self.connection, self.settings.name) if one.kind != "kafka"]

    def run(self, cursor: Cursor, limit: int = RUN_MESSAGES) -> Ran | None:
        runs = self._runs.get(cursor.subscription_id)
        if runs is None:
            runs = PushRuns(self.connections, self.request_loop, self.settings, self.telemetry)
            self._runs[cursor.subscription_id] = runs
        return runs.run([cursor], limit, again=False).get(cursor.id)

    def round(self, limit: int = RUN_MESSAGES) -> bool:
        """One run of each cursor that has work; whether any of them committed something."""
        progressed = False
        for cursor in self.probe():
            ran = self.run(cursor, limit)
            progressed |= ran is not None and ran.progressed
        return progressed

    def drain(self, limit: int = RUN_MESSAGES) -> None:
        """Rounds until nothing gets on: what is left is not due, or held."""
        for _ in range(MAX_ROUNDS):
            if not self.round(limit):
                return
        raise AssertionError("the cursors do not come to an end")


SUBSCRIBE = """
select subscription_id
from outbox.subscribe(%s, 'orders', %s, %s, %s, %s, made_by => %s)
"""
INSERT = """
insert into outbox.message (channel, type, group_key, priority, idempotency_key, payload)
select %(channel)s, %(type)s, key.group_key, %(priority)s, key.text,
       convert_to(json_build_object('key', key.text)::text, 'UTF8')
from unnest(%(keys)s::text[]) with ordinality as given (text, place)
cross join lateral (select given.text, nullif(split_part(given.text, ':', 1), '') as group_key) key
order by place
"""
DUE = """
update outbox.delivery set due_at = clock_timestamp()
where due_at between clock_timestamp() and 'infinity'::timestamptz - interval '1 second'
"""
COOLED = "update outbox.breaker set retry_at = clock_timestamp() where retry_at is not null"
ROWS = """
select m.idempotency_key, d.attempts,
       case when d.token is not null then 'in flight' when d.outcome is not null then d.outcome
            when d.due_at is null then 'behind' when d.due_at = 'infinity' then 'parked'
            else 'retry' end
from outbox.delivery d join outbox.message m on m.id = d.message_id order by d.message_id
"""
DEAD_LETTERS = """
select idempotency_key, reason, exhausted, attempts, redriven_at is not null,
       delivered_at is not null
from outbox.dead_letter order by message_id
"""
EVENTS = """
select type, convert_from(payload, 'UTF8')::json ->> 'name' from outbox.message
where channel = 'outbox.events' order by id
"""
BREAKER = (
    "select coalesce((select state from outbox.breaker_state where subscription = %s), 'closed')"
)
Row = tuple[Any, ...]


class PushStage:
    """A migrated database, and a receiver whose paths are the subscriptions' names."""

    def __init__(self, database_url: str, db: Session, receiver: Receiver) -> None:
        self.database_url = database_url
        self.db = db
        self.receiver = receiver

    def subscribe(
        self,
        name: str = "billing",
        *,
        types: list[str] | None = None,
        shards: int = 1,
        made_by: str | None = None,
        **given: object,
    ) -> int:
        """To channel `orders`; `given` are settings, over AT_ONCE and NEVER_OPENS. Its id.

        `made_by`: the name of a limited API key; None: it is the operator's own.
        """
        wanted = {"retry": AT_ONCE, "breaker": NEVER_OPENS} | given
        subscription_id: int = one(
            self.db,
            SUBSCRIBE,
            name,
            f"{self.receiver.url}/{name}",
            Jsonb(wanted),
            types,
            shards,
            made_by,
        )
        return subscription_id

    def publish(self, *keys: str, type: str = "order.paid", priority: int = 3) -> None:
        """One message for each idempotency key, in one transaction; its group is before the ':'."""
        values = {"keys": list(keys), "type": type, "priority": priority, "channel": "orders"}
        self.db.execute(INSERT, values)

    def settle(self, name: str, **given: object) -> None:
        """Changes settings of a subscription as an operator does: by UPDATE."""
        self.db.execute(
            "update outbox.subscription set settings = settings || %s where name = %s",
            [Jsonb(given), name],
        )

    def let_time_pass(self) -> None:
        """Every retry and every lease is due."""
        self.db.execute(DUE)

    def cool_down(self) -> None:
        """Every open breaker is half-open."""
        self.db.execute(COOLED)

    def breaker(self, name: str = "billing") -> str:
        state: str = one(self.db, BREAKER, name)
        return state

    def rows(self) -> list[Row]:
        """(idempotency key, attempts, state) of every delivery row."""
        return self.db.execute(ROWS).fetchall()

    def dead_letters(self) -> list[Row]:
        """(idempotency key, reason, exhausted, attempts, redriven?, delivered?)."""
        return self.db.execute(DEAD_LETTERS).fetchall()

    def dead_letter_ids(self) -> list[int]:
        return [id for (id,) in self.db.execute("select id from outbox.dead_letter order by id")]

    def events(self) -> list[Row]:
        """(type, subscription) of all that was told on outbox.events."""
        return self.db.execute(EVENTS).fetchall()

    def count(self, query: LiteralString) -> int:
        number: int = one(self.db, query)
        return number

    def keys(self, name: str | None = None) -> list[str]:
        """The idempotency keys that came, in their order, repeats included."""
        return keys(self.receiver.requests if name is None else self.receiver.received(f"/{name}"))


def keys(requests: Iterable[Received]) -> list[str]:
    """Their idempotency keys."""
    return [request.header("idempotency-key") for request in requests]


class Answers:
    """A script by idempotency key: the answers in their turn, the last one from then on, else OK.

    `accepted` are the keys that were answered with OK, in their order.
    """

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self._answers: dict[str, list[Reaction]] = {}

    def give(self, key: str, *answers: Reaction) -> Self:
        self._answers[key] = list(answers)
        return self

    def __call__(self, request: Received) -> Reaction:
        key = request.header("idempotency-key")
        answers = self._answers.get(key, [OK])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == OK:
            self.accepted.append(key)
        return answer


def inversions(accepted: Iterable[str]) -> list[str]:
    """Keys `group:number` whose number, the first time they came, is below one of their group."""
    seen: set[str] = set()
    last: dict[str, int] = {}
    inverted = []
    for key in accepted:
        if key in seen:
            continue
        seen.add(key)
        group, _, number = key.partition(":")
        if int(number) < last.get(group, 0):
            inverted.append(key)
        last[group] = max(last.get(group, 0), int(number))
    return inverted
