"""Apache Kafka's jars: fetched once into the user's cache, checked against a committed list."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext
from requests import RequestException
from rich.console import Console
from rich.progress import track

from local.cache import cache_dir, lock
from local.server import StartError

KAFKA_VERSION = "4.3.0"
# One line a jar, in the format of sha256sum and the layout of a Maven repository: the list is both
# the closed set of dependencies and the proof of what was fetched.
LIST = Path(__file__).with_name("kafka.sha256")

PARALLEL_FETCHES = 4
FETCH_TIMEOUT_SECONDS = 60


def kafka_jars(cache: Path | None = None) -> list[Path]:
    """The class path of Kafka and its tools, fetched where the cache has it not, or not whole.

    Safe in parallel: one process fetches, the others wait. Raises StartError where a jar can't be
    had or is not the one on the list.
    """
    cache = cache or cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    digests = read_list()
    home = cache / f"kafka-{KAFKA_VERSION}"
    with lock(cache / "kafka.lock"):
        if not intact(home, digests):
            fetch(home, digests)
    return [home / path for path in digests]


def read_list() -> dict[str, str]:
    """Path of each jar in a Maven repository → its SHA-256 in hexadecimal."""
    lines = (line.split() for line in LIST.read_text().splitlines())
    return {path: digest for digest, path in lines}


def intact(home: Path, digests: dict[str, str]) -> bool:
    """Whether every jar on the list lies in `home`, byte for byte."""
    return home.is_dir() and all(sha256(home / path) == digest for path, digest in digests.items())


def sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def fetch(home: Path, digests: dict[str, str]) -> None:
    """Fetch all jars into a folder beside, check them, rename: killed half-way, it starts anew."""
    part = home.with_name(home.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    maven = MavenContext(repo_cache=part, local_repos=[], timeout=FETCH_TIMEOUT_SECONDS)

    def fetch_one(path: str) -> None:
        *group, artifact, version, _ = path.split("/")
        maven.create_dependency(f"{'.'.join(group)}:{artifact}:{version}").artifact.resolve()

    with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        try:
            for _ in track(
                pool.map(fetch_one, digests),
                f"Fetching Apache Kafka {KAFKA_VERSION} (43 MB, once)",
                total=len(digests),
                console=Console(stderr=True),
            ):
                pass
        except (RequestException, RuntimeError) as error:
            pool.shutdown(cancel_futures=True)
            raise StartError(
                f"Kafka's jars can't be fetched; is Maven Central reachable? {error}"
            ) from error
    for path, digest in digests.items():
        if (found := sha256(part / path)) != digest:
            raise StartError(f"{path} has SHA-256 {found}, the list in {LIST.name} says {digest}")
    shutil.rmtree(home, ignore_errors=True)
    part.rename(home)
