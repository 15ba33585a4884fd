"""What these tests fetch once, into the user's cache: Debian's promtool, Kubernetes' schemas."""

import functools
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from local.cache import cache_dir, lock
from local.debian import unpacked
from local.server import StartError, run
from tests.programs import missing

# Schemas of many releases of Kubernetes, in a package for Python.
SCHEMAS = "kubernetes-validate==1.37.0"
SCHEMAS_SHA256 = "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
SCHEMAS_WHEEL = "kubernetes_validate-1.37.0-py3-none-any.whl"
TIMEOUT_SECONDS = 300

Thing = TypeVar("Thing")


def fetched(what: Callable[[], Thing]) -> Thing:
    """The thing. Where it can't be had the test is skipped, and the summary says why."""
    try:
        return what()
    except StartError as fault:
        missing(str(fault))


def promtool() -> Path:
    """From PATH, or from Debian's package. Raises StartError."""
    found = shutil.which("promtool")
    return Path(found) if found else unpacked("prometheus") / "usr/bin/promtool"


@functools.cache
def definitions(release: str) -> dict[str, Any]:
    """Every kind of one release of Kubernetes, such as 1.34; none takes an unknown field.

    Raises StartError.
    """
    member = f"kubernetes_validate/kubernetes-json-schema/v{release}.0-local-strict"
    with zipfile.ZipFile(_wheel()) as wheel:
        known: dict[str, Any] = json.loads(wheel.read(f"{member}/_definitions.json"))["$defs"]
    return known


def _wheel() -> Path:
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / SCHEMAS_WHEEL
    with lock(cache / "kubernetes-schemas.lock"):
        if not wheel.exists():
            _download(wheel)
    return wheel


def _download(wheel: Path) -> None:
    """Into a folder beside, then rename: killed half-way, it starts anew."""
    part = wheel.with_name("kubernetes-schemas.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    wanted = part / "requirements.txt"
    wanted.write_text(f"{SCHEMAS} --hash=sha256:{SCHEMAS_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    run(
        "fetching Kubernetes' schemas",
        [*pip, "--dest", part, "--requirement", wanted],
        part / "log",
        timeout_seconds=TIMEOUT_SECONDS,
    )
    (part / SCHEMAS_WHEEL).rename(wheel)
    shutil.rmtree(part)
