"""The packages of npm that the pages for Node need, as tests/adopt/node locks them."""

import shutil
from pathlib import Path

from local.cache import cache_dir, lock
from local.maven import sha256
from local.server import run
from tests.programs import required

LOCKED = Path(__file__).with_name("node")
TIMEOUT_SECONDS = 100


def link_packages(folder: Path) -> None:
    """Gives the folder a node_modules. The first call of a user fetches it, by npm."""
    npm = required("npm")
    home = cache_dir() / f"adopt-node-{sha256(LOCKED / 'package-lock.json')}"
    cache_dir().mkdir(parents=True, exist_ok=True)
    with lock(home.with_suffix(".lock")):
        if not home.is_dir():
            part = home.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(LOCKED, part)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            log = part / "log"
            run("npm ci", command, log, timeout_seconds=TIMEOUT_SECONDS, directory=part)
            part.rename(home)
    (folder / "node_modules").symlink_to(home / "node_modules")
