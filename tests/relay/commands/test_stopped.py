"""A command that waits is ended by SIGTERM, also as the first process of a container."""

import signal
import subprocess

import psycopg

from local.program import script
from tests.eventually import eventually

WAITS = """
select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""


def ignore_sigterm() -> None:
    """As the kernel does for the first process of a container that has said nothing about it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_migrate_that_waits_for_a_lock_ends(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as holder,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        holder.execute("lock table outbox.migration in access exclusive mode")
        with subprocess.Popen(
            [script("outbox-relay"), "migrate"],
            env={"DATABASE_URL": database_url},
            preexec_fn=ignore_sigterm,
        ) as command:

            def waits() -> None:
                assert len(observer.execute(WAITS).fetchall()) == 1

            try:
                eventually(waits, 20)
                command.terminate()
                assert command.wait(5) == 1
            finally:
                command.kill()
