"""Jars of Maven Central: fetched once into the user's cache, checked against a committed list."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.maven import MavenContext
from requests import RequestException
from rich.console import Console
from rich.progress import track

from local.cache import cache_dir, lock
from local.server import StartError

PARALLEL_FETCHES = 4
FETCH_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Jars:
    """A closed set of jars. `digests`: path of each in a Maven repository → its SHA-256 in hex.

    `folder` is where the cache has them; `name` and `megabytes` are for who waits for the fetch.
    """

    name: str
    folder: str
    megabytes: int
    digests: dict[str, str]

    def provide(self, cache: Path | None = None) -> list[Path]:
        """The jars, fetched where the cache has them not, or not whole.

        Safe in parallel: one process fetches, the others wait. Raises StartError where a jar can't
        be had or is not the one on the list.
        """
        cache = cache or cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        home = cache / self.folder
        with lock(cache / f"{self.folder}.lock"):
            if not self._is_intact(home):
                self._fetch(home)
        return [home / path for path in self.digests]

    def _is_intact(self, home: Path) -> bool:
        return home.is_dir() and self._strange(home) is None

    def _strange(self, home: Path) -> str | None:
        """The first jar that is not in `home`, byte for byte."""
        for path, digest in self.digests.items():
            if sha256(home / path) != digest:
                return path
        return None

    def _fetch(self, home: Path) -> None:
        """Fetch all into a folder beside, check them, rename: killed half-way, it starts anew."""
        part = home.with_name(home.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        maven = MavenContext(repo_cache=part, local_repos=[], timeout=FETCH_TIMEOUT_SECONDS)

        def fetch_one(path: str) -> None:
            *group, artifact, version, _ = path.split("/")
            maven.create_dependency(f"{'.'.join(group)}:{artifact}:{version}").artifact.resolve()

        with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
            try:
                for _ in track(
                    pool.map(fetch_one, self.digests),
                    f"Fetching {self.name} ({self.megabytes} MB, once)",
                    total=len(self.digests),
                    console=Console(stderr=True),
                ):
                    pass
            except (RequestException, RuntimeError) as error:
                pool.shutdown(cancel_futures=True)
                raise StartError(
                    f"{self.name} can't be fetched; is Maven Central reachable? {error}"
                ) from error
        if (path := self._strange(part)) is not None:
            found, digest = sha256(part / path), self.digests[path]
            raise StartError(f"{path} has SHA-256 {found}, the list of {self.name} says {digest}")
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)


def read_list(path: Path) -> dict[str, str]:
    """A file as sha256sum writes it, of paths in a Maven repository: path → digest."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {jar: digest for digest, jar in lines}


def sha256(path: Path) -> str | None:
    """In hexadecimal; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
