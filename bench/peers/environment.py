"""The Python peers' own environment: pinned, made once, outside any checkout."""

import hashlib
import shutil
import sys
from pathlib import Path

from local.cache import cache_dir, lock
from local.server import run

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
PEERS = ("txoutbox[postgres]", "faststream-outbox[asyncpg]", "faststream[kafka]")
INSTALL_TIMEOUT_SECONDS = 300


def python() -> Path:
    """Its interpreter; the first call of a user installs the peers.

    Safe in parallel: one process installs, the others wait. Raises StartError.
    """
    key = CONSTRAINTS.read_bytes() + sys.version.encode() + sys.prefix.encode()
    home = cache_dir() / f"peers-{hashlib.sha256(key).hexdigest()[:12]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    interpreter, installed = home / "bin" / "python", home / "installed"
    with lock(home.with_name("peers.lock")):
        if not installed.exists():
            shutil.rmtree(home, ignore_errors=True)
            log = home.with_name("peers.log")
            make: list[str | Path] = [sys.executable, "-m", "venv", home]
            run("making the peers' environment", make, log, timeout_seconds=60)
            install: list[str | Path] = [
                interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                "--constraint", CONSTRAINTS, *PEERS,
            ]  # fmt: skip
            run("installing the peers", install, log, timeout_seconds=INSTALL_TIMEOUT_SECONDS)
            # Written last: an installation that was killed half-way starts anew.
            installed.touch()
    return interpreter


def versions(*packages: str) -> list[str]:
    """Name and pinned version of each."""
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    return [f"{package} {pinned[package]}" for package in packages]
