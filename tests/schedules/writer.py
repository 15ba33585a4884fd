"""What a writer does in its steps: one transaction, as services write them."""

from collections.abc import Iterable, Iterator

from psycopg import sql

from tests.schedules.actor import Actor
from tests.sql.log import Session

# The group's own row is locked before anything of the group is published, and numbers its messages:
# so the numbers say in which order its transactions wrote them, whatever a reader believes.
TABLE = "create table parcel (name text primary key, state integer not null default 0)"
FUNCTION = """
create function publish_step(parcel text, channel text, type text, priority integer, attempt text)
returns void
language plpgsql as $$
declare
    step integer;
begin
    update parcel set state = state + 1 where name = publish_step.parcel returning state into step;
    perform outbox.publish(publish_step.channel, publish_step.type, '{}', publish_step.parcel,
                           publish_step.priority,
                           concat_ws(':', publish_step.parcel, step, attempt));
end
$$
"""
PARCELS = "insert into parcel (name) select unnest(%s::text[])"
# Writers of one group wait for each other here and not at its row: who is freed there draws a
# transaction id on the spot, and of two that one commit frees it would be left to chance which is
# first. Here they stand still until they are told to go on. The lock ends as the row's does: with
# its transaction, prepared or not, or with the savepoint that it came after.
TURN = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
LOCK = "select from parcel where name = %s for update"
PUBLISH = "select publish_step(%s, %s, %s, %s, %s)"
CHANNEL = "orders"
TYPE = "step"
PRIORITY = 3


class Writer:
    """One writing session; used again for schedule after schedule."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._published = 0

    def pid(self) -> int:
        return self._session.info.backend_pid

    def live(self, actor: Actor) -> None:
        """Takes the actor's steps."""
        while step := actor.next_step():
            for actions in _up_to_each_turn(step):
                begins = self._is_idle and step != "commit prepared"
                with self._session.pipeline():
                    if begins:
                        self._session.execute("begin")
                    for action in actions:
                        self._do(action, actor.name)
                actor.freed()

    @property
    def _is_idle(self) -> bool:
        return self._session.info.transaction_status.name == "IDLE"

    def _do(self, action: str, name: str) -> None:
        execute = self._session.execute
        transaction = sql.Literal(f"writer {name}")
        match action.split():
            case ["xid"]:
                execute("select pg_current_xact_id()")
            case ["turn", group]:
                execute(TURN, [group])
            case ["lock", group]:
                execute(LOCK, [group])
            case ["publish", group, *words]:
                self._published += 1
                attempt = f"{name}{self._published}"
                execute(PUBLISH, [group, *_kind(words), attempt])
            case ["savepoint"]:
                execute("savepoint here")
            case ["rollback", "to"]:
                execute("rollback to savepoint here")
            case ["commit"]:
                execute("commit")
            case ["rollback"]:
                execute("rollback")
            case ["prepare"]:
                execute(sql.SQL("prepare transaction {}").format(transaction))
            case ["commit", "prepared"]:
                execute(sql.SQL("commit prepared {}").format(transaction))
            case _:
                raise ValueError(f"a writer can't {action!r}: see Script")


def _kind(words: Iterable[str]) -> tuple[str, str, int]:
    """Of a message: its channel, type and priority."""
    channel, type_, priority = CHANNEL, TYPE, PRIORITY
    for word in words:
        if word.isdigit():
            priority = int(word)
        elif word.startswith("type:"):
            type_ = word.removeprefix("type:")
        else:
            channel = word
    return channel, type_, priority


def _up_to_each_turn(step: str) -> Iterator[list[str]]:
    """A step's actions in one round trip each time, as far as one that may have to wait."""
    actions = list[str]()
    for action in step.split("; "):
        if action.startswith("lock "):
            yield [*actions, action.replace("lock", "turn")]
            actions = []
        actions.append(action)
    yield actions
