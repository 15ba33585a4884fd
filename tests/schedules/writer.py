"""What a writer does in its steps: one transaction, as services write them."""

from psycopg import sql

from tests.schedules.actor import Actor
from tests.sql.log import Session

# The group's own row is locked before anything of the group is published, and numbers its messages:
# so the numbers say in which order its transactions wrote them, whatever a reader believes.
TABLE = "create table parcel (name text primary key, state integer not null default 0)"
FUNCTION = """
create function publish_step(parcel text, channel text, attempt text) returns void
language plpgsql as $$
declare
    step integer;
begin
    update parcel set state = state + 1 where name = publish_step.parcel returning state into step;
    perform outbox.publish(publish_step.channel, 'step', '{}', publish_step.parcel, 3,
                           concat_ws(':', publish_step.parcel, step, attempt));
end
$$
"""
PARCELS = "insert into parcel (name) select unnest(%s::text[])"
LOCK = "select from parcel where name = %s for update"
PUBLISH = "select publish_step(%s, %s, %s)"
CHANNEL = "orders"


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
            if self._session.info.transaction_status.name == "IDLE" and step != "commit prepared":
                self._session.execute("begin")
            for action in step.split("; "):
                self._do(action, actor.name)

    def _do(self, action: str, name: str) -> None:
        execute = self._session.execute
        transaction = sql.Literal(f"writer {name}")
        match action.split():
            case ["xid"]:
                execute("select pg_current_xact_id()")
            case ["lock", group]:
                execute(LOCK, [group])
            case ["publish", group, *channel]:
                self._published += 1
                attempt = f"{name}{self._published}"
                execute(PUBLISH, [group, *(channel or [CHANNEL]), attempt])
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
