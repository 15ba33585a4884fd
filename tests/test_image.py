"""The image's own steps, done in environments of Python: there is no container engine here."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents import ROOT

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

# What only root may do, and only there.
MAKES_USERS = ("groupadd ", "useradd ")
STEP = re.compile(r"^(FROM|WORKDIR|COPY|RUN|CMD) (.*)$", re.MULTILINE)


class Stage:
    """One stage: a folder that stands for `/`, and an environment for what pip installs."""

    def __init__(self, home: Path) -> None:
        self.root = home / "root"
        self.root.mkdir(parents=True)
        self.bin = home / "python" / "bin"
        self._workdir = "/"
        subprocess.run([sys.executable, "-m", "venv", self.bin.parent], check=True, timeout=120)

    def place(self, path: str) -> Path:
        """Where a path of the image lies."""
        return self.root / os.path.join(self._workdir, path).lstrip("/")

    def enter(self, path: str) -> None:
        self._workdir = path
        self.place(path).mkdir(parents=True, exist_ok=True)

    def copy(self, sources: list[Path], target: str) -> None:
        into = self.place(target)
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, into, dirs_exist_ok=True)
            else:
                destination = into / source.name if target.endswith("/") else into
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, destination)

    def run(self, command: str) -> None:
        parts = [one for one in re.split(r"\s*&&\s*", command) if not one.startswith(MAKES_USERS)]
        here = re.sub(r"(?<=\s)/(?=\w)", f"{self.root}/", " && ".join(parts))
        subprocess.run(
            ["sh", "-ec", here],
            cwd=self.place("."),
            env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"},
            check=True,
            timeout=600,
        )


def test_the_steps_of_the_image_install_both_commands_and_nothing_that_is_not_locked(
    tmp_path: Path,
) -> None:
    stages: dict[str, Stage] = {}
    commands = []
    for step, words in STEP.findall((ROOT / "Dockerfile").read_text().replace("\\\n", " ")):
        if step == "FROM":
            name = words.partition(" AS ")[2]
            stage = stages[name] = Stage(tmp_path / (name or "last"))
        elif step == "WORKDIR":
            stage.enter(words)
        elif step == "RUN":
            stage.run(words)
        elif step == "CMD":
            commands.append(json.loads(words))
        else:
            *sources, target = words.split()
            place: Callable[[str], Path] = ROOT.joinpath
            if sources[0].startswith("--from="):
                place = stages[sources.pop(0).removeprefix("--from=")].place
            stage.copy([place(source) for source in sources], target)
    assert commands == [["outbox-relay", "run"]]
    last = stages[""]
    for program in ("outbox-relay", "outbox-service"):
        told = subprocess.run(
            [last.bin / program, "--version"],
            env={},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert told.stdout.startswith(program)
    locked = set(
        re.findall(
            r"^([a-z0-9-]+)(?:\[.*\])?==",
            (ROOT / "requirements.runtime.lock").read_text(),
            re.MULTILINE,
        )
    )
    installed = subprocess.run(
        [last.bin / "python", "-m", "pip", "list", "--format=json"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    names = {one["name"].lower().replace("_", "-") for one in json.loads(installed.stdout)}
    assert names - locked == {"outbox-relay", "pip", "setuptools"} & names
    assert list(last.root.rglob("*.whl")) == []
