"""Programs from Debian's packages, unpacked into the user's cache: as any user, nothing installed.

Which packages there are is looked up anew, in lists of our own: a fresh machine has none, and the
machine's are its root's. apt checks what it fetches by the distribution's signatures.
"""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from local.cache import cache_dir, lock
from local.server import StartError, run

TIMEOUT_SECONDS = 300


def unpacked(package: str, cache: Path | None = None) -> Path:
    """The folder that stands for `/` of a package and of the libraries that it depends on.

    Safe in parallel: one process fetches, the others wait. Raises StartError with apt's own words.
    """
    cache = cache or cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / package
    with lock(cache / f"{package}.lock"):
        if not home.is_dir():
            _fetch(package, home)
    return home


def _fetch(package: str, home: Path) -> None:
    """Into a folder beside, then rename: killed half-way, it starts anew."""
    if shutil.which("apt-get") is None:
        raise StartError(f"{package} is not on PATH and there is no apt-get: install it")
    part = home.with_name(home.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in ("lists/partial", "archives/partial", "debs", "root"):
        (part / folder).mkdir(parents=True)
    log = part / "log"

    def apt(tool: str, *arguments: str) -> list[str]:
        places = [f"Dir::State::Lists={part / 'lists'}", f"Dir::Cache={part}"]
        # Else root's apt works as a user who may not enter here.
        options = [*places, "APT::Sandbox::User=root"]
        return [tool, *(f"--option={option}" for option in options), *arguments]

    # A foreign source that is out of reach is no matter, and one that is needed is missed below.
    with suppress(StartError):
        run("apt-get update", apt("apt-get", "update"), log, timeout_seconds=TIMEOUT_SECONDS)
    wanted = [package, *_libraries(apt("apt-cache", "depends", package))]
    run(
        f"fetching {package}",
        apt("apt-get", "download", *wanted),
        log,
        timeout_seconds=TIMEOUT_SECONDS,
        directory=part / "debs",
    )
    for deb in sorted((part / "debs").iterdir()):
        command: list[str | Path] = ["dpkg-deb", "--extract", deb, part / "root"]
        run("dpkg-deb", command, log, timeout_seconds=TIMEOUT_SECONDS)
    (part / "root").rename(home)
    shutil.rmtree(part)


def _libraries(depends: list[str]) -> list[str]:
    """Those that this machine may be without: the C library is its own, and so is the loader."""
    told = subprocess.run(depends, capture_output=True, text=True, timeout=60, check=False).stdout
    lines = [line.split() for line in told.splitlines()]
    return [line[1] for line in lines if line[:1] == ["Depends:"] and _is_library(line[1])]


def _is_library(name: str) -> bool:
    return name.startswith("lib") and name != "libc6"
