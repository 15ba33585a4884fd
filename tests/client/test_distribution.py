"""The client ships by itself: a wheel and an sdist of what it needs, and nothing of the others."""

import zipfile
from email.parser import BytesParser
from pathlib import Path

from local.distributions import CLIENT, ROOT, build


def test_the_wheel_from_the_sdist_carries_the_typed_client_and_its_license(tmp_path: Path) -> None:
    _, wheel = build(CLIENT, tmp_path)
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
