"""The programs that come with Postgres, run against a database of a test."""

import os
import subprocess
from pathlib import Path

from local.postgres_binaries import IN_WHEEL, bin_dir


def run(program: str, url: str, *arguments: str | Path, version: int = 18) -> str:
    """What the program writes; it must succeed without a complaint. A notice is none.

    It is of the server's major `version`, or of the next later one that comes with programs.
    """
    programs = min(carried for carried in IN_WHEEL if carried >= version)
    command = [str(bin_dir(programs) / program), "-d", url, *map(str, arguments)]
    ran = subprocess.run(
        command,
        env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), command
    return ran.stdout


def psql(url: str, *arguments: str | Path, version: int = 18) -> str:
    """psql without the user's own settings, ending at the first error."""
    return run("psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments, version=version)
