"""The alerts as these tests read them, and promtool, which judges them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.documents import ROOT

RULES = ROOT / "deploy/prometheus/rules.yml"
RULES_TEST = RULES.with_name("rules.test.yml")

# Functions, aggregations and words of PromQL have no underscore; those that do are listed.
_NAME = re.compile(r"\b(?:outbox_relay|service|process|python)_[a-z0-9_]+\b")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Verdict(msgspec.Struct, frozen=True):
    """What promtool says: whether all is well, and its words."""

    ok: bool
    said: str


def alerts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a file of rules, in its order."""
    return [rule for group in document["groups"] for rule in group["rules"]]


def rules() -> dict[str, Any]:
    """deploy/prometheus/rules.yml."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return document


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression reads, histograms by the name of the whole."""
    return {_SUFFIX.sub("", name) for name in _NAME.findall(expression)}


def ask(promtool: Path, *arguments: str | Path, directory: Path) -> Verdict:
    """Runs promtool to its end."""
    done = subprocess.run(
        [promtool, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Verdict(done.returncode == 0, done.stdout + done.stderr)


def check(promtool: Path, document: dict[str, Any], directory: Path) -> Verdict:
    """Whether these are rules."""
    (directory / "rules.yml").write_text(yaml.safe_dump(document))
    return ask(promtool, "check", "rules", "rules.yml", directory=directory)


def try_out(
    promtool: Path, document: dict[str, Any], tests: dict[str, Any], directory: Path
) -> Verdict:
    """Whether these rules do what these tests say."""
    (directory / "rules.yml").write_text(yaml.safe_dump(document))
    (directory / "rules.test.yml").write_text(yaml.safe_dump(tests))
    return ask(promtool, "test", "rules", "rules.test.yml", directory=directory)
