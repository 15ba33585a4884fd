"""Load as services make it: they lock their groups, publish, are late, and change their mind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psycopg
from psycopg import errors

GROUPS = 20
PUBLISH = """
insert into outbox.message (channel, type, group_key, payload)
select %s, 'test.event', %s, convert_to(%s || ' ' || n, 'UTF8') from generate_series(1, %s) as n
"""


def write(
    database_url: str, channel: str, random: Random, stop: threading.Event, name: str
) -> None:
    """Commits transactions until `stop`, to one to three groups each, which it locks first."""
    n = 0
    with psycopg.connect(database_url) as connection:
        while not stop.wait(random.uniform(0, 0.02)):
            n += 1
            groups = sorted(random.sample(range(GROUPS), random.randint(1, 3)))
            for group in groups:
                connection.execute("select pg_advisory_xact_lock(%s)", (group,))
            for group in groups:
                # Now and then a burst, so that a run is long enough to be struck in its middle.
                messages = 300 if random.random() < 0.02 else random.randint(1, 3)
                values = (channel, f"group-{group}", f"{name} {n}", messages)
                connection.execute(PUBLISH, values)
            if random.random() < 0.2:
                connection.execute("select pg_sleep(%s)", (random.uniform(0, 0.05),))
            if random.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()


@contextmanager
def writing(database_url: str, channel: str, *, seed: int, writers: int = 4) -> Iterator[None]:
    """Keeps writers at work, whose database may go away; what they committed is in the log."""
    stop = threading.Event()

    def persist(number: int) -> None:
        random = Random(seed * 1000 + number)
        life = 0
        while not stop.is_set():
            life += 1
            try:
                write(database_url, channel, random, stop, f"writer {number}.{life}")
            except (psycopg.OperationalError, errors.AdminShutdown):
                stop.wait(0.1)

    threads = [threading.Thread(target=persist, args=[number]) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
