"""Kafka's classes as Java has them once a broker is up, kept in the user's cache folder.

A broker that starts quickly takes them from there: two seconds of processor time in place of five.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from local.cache import cache_dir, lock
from local.kafka import Kafka, aot_cache_path
from local.server import StartError, free_port


class Recorded(Kafka):
    """A broker that leaves its classes in a file at its end, which takes it several seconds."""

    stop_timeout_seconds = 120

    def __init__(self, directory: Path, file: Path) -> None:
        super().__init__(directory / "kafka", free_port(), {}, quick_start=True)
        self._file = file

    def command(self) -> Sequence[str | Path]:
        java, *options = super().command()
        return [java, f"-XX:AOTCacheOutput={self._file}", *options]


def provide() -> None:
    """Has them recorded by a broker of its own, unless they are there.

    Safe in parallel: one process records, the others wait. Raises StartError where that fails.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    with lock(cache_dir() / "aot.lock"):
        if not aot_cache_path().exists():
            _record(aot_cache_path())


def _record(path: Path) -> None:
    part = path.with_name(path.name + ".part")
    with TemporaryDirectory() as directory:
        broker = Recorded(Path(directory), part)
        broker.format()
        broker.launch()
        broker.stop()
        if not part.exists():
            raise StartError(f"Java did not record Kafka's classes:\n{broker.log_tail()}")
        part.rename(path)
