"""The client ships by itself: a wheel and an sdist of what it needs, and nothing of the others."""

import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.documents import ROOT

CLIENT = ROOT / "client"


def test_the_wheel_from_the_sdist_carries_the_typed_client_and_its_license(tmp_path: Path) -> None:
    [sdist] = SdistBuilder(str(CLIENT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / Path(sdist).name.removesuffix(".tar.gz")
    [wheel] = WheelBuilder(str(unpacked)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [license_] = [name for name in names if name.endswith("licenses/LICENSE")]
        assert archive.read(license_) == (ROOT / "LICENSE").read_bytes()
        [metadata] = [name for name in names if name.endswith("/METADATA")]
        said = BytesParser().parsebytes(archive.read(metadata))
    modules = {str(one.relative_to(CLIENT)) for one in CLIENT.glob("outbox_client/**/*.py")}
    code = {name for name in names if not name.startswith("outbox_client-")}
    assert code == {*modules, "outbox_client/py.typed"}
    assert (said["Name"], said["Requires-Python"]) == ("outbox-client", ">=3.11")
    needs = {one.partition("<")[0] for one in said.get_all("Requires-Dist", [])}
    assert needs == {"httpcore2", "httpx2", "msgspec>=0.20", "tenacity"}
