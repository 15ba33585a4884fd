"""Writers that do everything a transaction may do, on the server and so as fast as it can."""

import threading
from collections.abc import Iterable
from typing import NamedTuple, Self

import psycopg

from tests.sql.log import Session

TABLE = "create table parcel (id integer primary key, state integer not null default 0)"
GROUPS = "insert into parcel (id) select generate_series(0, 23)"

# The group's own row first: its state numbers the group's messages in the order of their writing.
# The key says all that a checker needs: group, priority, step, and what makes it unique.
STEP = """
create procedure write_step(parcel_id integer, attempt text) language plpgsql as $$
declare
    step integer;
    class integer := case when random() < 0.5 then 1 else 5 end;
begin
    update parcel set state = state + 1 where id = parcel_id returning state into step;
    perform outbox.publish('orders', 'step', '{}', parcel_id::text, class,
                           concat_ws(':', parcel_id, class, step, attempt));
end
$$
"""
WRITE = """
create procedure write_nastily(writer integer, seed float8, commits integer) language plpgsql as $$
declare
    committed integer := 0;
    attempt   text;
    parcel_id integer;
begin
    perform setseed(seed);
    for number in 1 .. 1000000 loop
        attempt := concat_ws('-', writer, number);
        if random() < 0.3 then
            -- An id long before it writes: then it waits for a row that a later one holds.
            perform pg_current_xact_id();
        end if;
        -- In one order, so that no two writers wait for each other.
        for parcel_id in
            select distinct floor(random() * 24)::integer as id
            from generate_series(1, case when random() < 0.3 then 3 else 1 end) order by id
        loop
            if random() < 0.15 then
                begin
                    call write_step(parcel_id, attempt || '-undone');
                    raise exception using errcode = 'UNDO0';
                exception when sqlstate 'UNDO0' then null;
                end;
            end if;
            call write_step(parcel_id, attempt);
        end loop;
        if random() < 0.1 then
            perform outbox.publish('orders', 'alone', '{}',
                                   idempotency_key => concat_ws(':', '-', 3, 0, attempt));
        end if;
        if random() < 0.1 then
            -- Commits late: others draw ids and commit meanwhile.
            perform pg_sleep(random() / 15);
        end if;
        if random() < 0.1 then
            rollback;
        else
            commit;
            committed := committed + 1;
        end if;
        exit when committed = commits;
    end loop;
end
$$
"""
CALL = "call write_nastily(%s, %s, %s)"


class Written(NamedTuple):
    """The `step`-th message of its group, or one without a group."""

    group: str
    priority: int
    step: int

    @classmethod
    def parse(cls, idempotency_key: str) -> "Written":
        group, priority, step, _ = idempotency_key.split(":")
        return cls(group, int(priority), int(step))


class Writers:
    """`count` sessions that commit `commits` transactions each, seeded."""

    def __init__(self, database_url: str, *, count: int, commits: int) -> None:
        self.faults: list[BaseException] = []
        self._url = database_url
        self._commits = commits
        with psycopg.connect(database_url) as connection:
            for statement in (TABLE, GROUPS, STEP, WRITE):
                connection.execute(statement)
        self._threads = [
            threading.Thread(target=self._write, args=[writer]) for writer in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)

    @property
    def done(self) -> bool:
        """Whether all have written what they had to."""
        return not any(thread.is_alive() for thread in self._threads)

    def _write(self, writer: int) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as session:
                session.execute("set statement_timeout = '60s'")
                session.execute(CALL, [writer, writer / 100, self._commits])
        except BaseException as fault:
            self.faults.append(fault)


def committed(db: Session) -> set[str]:
    """The idempotency keys of all that is in the log."""
    return {key for (key,) in db.execute("select idempotency_key from outbox.message")}


def inversions(arrived: Iterable[str]) -> list[tuple[Written, Written]]:
    """First arrivals of one group and priority in the wrong order, by their idempotency keys."""
    last: dict[tuple[str, int], Written] = {}
    wrong = []
    for written in map(Written.parse, dict.fromkeys(arrived)):
        if written.group == "-":
            continue
        before = last.get((written.group, written.priority))
        if before is not None and before.step >= written.step:
            wrong.append((before, written))
        last[written.group, written.priority] = written
    return wrong
