"""Builds both distributions into dist/: of each an sdist, and the wheel from it; `make dist`."""

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
RELAY, CLIENT = ROOT, ROOT / "client"


def build(project: Path, directory: Path) -> tuple[Path, Path]:
    """The sdist of a project, and the wheel that its users get of it; both in `directory`."""
    [sdist] = SdistBuilder(str(project)).build(directory=str(directory), versions=["standard"])
    with TemporaryDirectory() as place, tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
        source = Path(place) / Path(sdist).name.removesuffix(".tar.gz")
        [wheel] = WheelBuilder(str(source)).build(directory=str(directory), versions=["standard"])
    return Path(sdist), Path(wheel)


if __name__ == "__main__":
    for project in (RELAY, CLIENT):
        for made in build(project, ROOT / "dist"):
            print(made.relative_to(ROOT))
