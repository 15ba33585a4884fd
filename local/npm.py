"""Packages of npm: fetched once into the user's cache by npm, each checked against its digest.

One package is one archive here: nothing that it depends on comes with it, and nothing of it is run.
"""

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from local.cache import cache_dir, lock
from local.maven import sha256
from local.server import StartError, run

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Package:
    """A version of a package; `digest` is the SHA-256 of its archive in hex."""

    name: str
    version: str
    digest: str

    def provide(self, cache: Path | None = None) -> Path:
        """The folder with its files.

        Safe in parallel: one process fetches, the others wait. Raises StartError where it can't be
        had or is another one.
        """
        cache = cache or cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        home = cache / f"npm-{self.name.strip('@').replace('/', '-')}-{self.version}"
        with lock(cache / f"{home.name}.lock"):
            if not home.is_dir():
                self._fetch(home)
        return home / "package"

    def _fetch(self, home: Path) -> None:
        """Into a folder beside, then rename: killed half-way, it starts anew."""
        if (npm := shutil.which("npm")) is None:
            raise StartError(f"npm is not on PATH, and {self.name} comes by it: install Node")
        part = home.with_name(home.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        wanted = f"{self.name}@{self.version}"
        command = [npm, "pack", wanted, "--ignore-scripts", f"--pack-destination={part}"]
        log = part / "log"
        run(f"fetching {wanted}", command, log, timeout_seconds=TIMEOUT_SECONDS, directory=part)
        [archive] = part.glob("*.tgz")
        if (found := sha256(archive)) != self.digest:
            raise StartError(f"{wanted} has SHA-256 {found}, and {self.digest} was expected")
        with tarfile.open(archive) as files:
            files.extractall(part, filter="data")
        archive.unlink()
        part.rename(home)
