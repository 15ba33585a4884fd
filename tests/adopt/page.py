"""A page of docs/adopt as who follows it has it: its files, in an empty folder."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import FOREIGN_SETTINGS
from tests.documents import DOCS

# A file's name stands alone above its block.
_FILE = re.compile(r"^\*\*`([\w./-]+)`\*\*\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_SECONDS = 100


def files(page: str) -> dict[str, str]:
    """Of docs/adopt/`page`.md: name → text of each file that it shows."""
    found = _FILE.findall((DOCS / "adopt" / f"{page}.md").read_text())
    assert found, f"{page} shows no file"
    assert len({name for name, _ in found}) == len(found), f"{page} shows a file twice"
    return dict(found)


def write(page: str, folder: Path) -> None:
    """The files of a page, where they say that they go."""
    for name, text in files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(
    command: str,
    folder: Path,
    environment: Mapping[str, str],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> str:
    """What a command says that is run in the folder; raises AssertionError where it fails."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)
    }
    # Not the tests' own workers, seeds and plugins.
    inherited = {name: one for name, one in inherited.items() if not name.startswith("PYTEST")}
    ran = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_seconds,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}"
    return ran.stdout
