"""Servers that refuse to run as root, started by root all the same."""

import functools
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from local.server import StartError

# In a user namespace root is mapped to this user, so no account is made and no folder changes
# hands. The number needs an entry in the password file: initdb asks.
UNPRIVILEGED_ID = 1
UNSHARE = ["unshare", "--user", f"--map-user={UNPRIVILEGED_ID}", f"--map-group={UNPRIVILEGED_ID}"]


def unprivileged() -> tuple[list[str], int | None]:
    """What to put before a command, or else the id of the user to run it as.

    Neither, where this process is not root's.
    """
    if os.geteuid() != 0:
        return [], None
    return (UNSHARE, None) if unshare_permitted() else ([], UNPRIVILEGED_ID)


@functools.cache
def unshare_permitted() -> bool:
    """Whether this root may make a user namespace; some containers forbid it."""
    try:
        trial = subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        return False
    return trial.returncode == 0


def require_way_in(name: str, user_id: int, paths: Iterable[Path]) -> None:
    """Raises StartError where another user can't walk to what the server `name` reads."""
    for path in paths:
        for folder in path.parents:
            if folder.exists() and not folder.stat().st_mode & 0o001:
                raise StartError(
                    f"running as root without user namespaces, {name} runs as user {user_id}, "
                    f"which can't enter {folder}; run as another user or put the data and the "
                    f"virtualenv elsewhere"
                )
