"""Packages of npm come by npm, once, and are the ones that were meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from local.npm import Package
from local.server import StartError
from tests.programs import required

# Some kilobytes.
SMALL = Package(
    "isarray", "2.0.5", "72bae463b81a604b4a118c00012c76ee9b8d155b9da62d1f362876c9f8b5f793"
)


@pytest.mark.long
def test_a_package_is_fetched_once_and_is_the_one_that_was_meant(tmp_path: Path) -> None:
    required("npm")
    other = replace(SMALL, digest="0" * 64)
    with pytest.raises(StartError, match="has SHA-256"):
        other.provide(tmp_path)
    home = SMALL.provide(tmp_path)
    assert (home / "package.json").is_file()
    (home / "mark").touch()
    assert (SMALL.provide(tmp_path) / "mark").is_file()


def test_without_npm_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="npm is not on PATH"):
        SMALL.provide(tmp_path)
