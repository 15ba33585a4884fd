"""Each alert fires when it has to, keeps silent when not, and says what to do."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rules import RULES, RULES_TEST, alerts, ask, rules, try_out
from tests.documents import DOCS, ROOT, anchors, tables

ALERTS = alerts(rules())
NAMES = {alert["alert"] for alert in ALERTS}
TESTS: dict[str, Any] = yaml.safe_load(RULES_TEST.read_text())
# Prometheus adds these to what a process shows.
ADDED = {"job", "instance", "namespace"}

Alert = dict[str, Any]


def test_the_rules_are_rules(promtool: Path) -> None:
    verdict = ask(promtool, "check", "rules", RULES.name, directory=RULES.parent)
    assert verdict.ok, verdict.said


def test_the_rules_do_what_their_tests_say(promtool: Path) -> None:
    verdict = ask(promtool, "test", "rules", RULES_TEST.name, directory=RULES.parent)
    assert verdict.ok, verdict.said


def never(alert: Alert) -> None:
    alert["expr"] = "vector(1) < 0"


def at_once(alert: Alert) -> None:
    alert.pop("for", None)


def always(alert: Alert) -> None:
    at_once(alert)
    alert["expr"] = "vector(1)"


PATIENT = {alert["alert"] for alert in ALERTS if "for" in alert}


@pytest.mark.parametrize(
    ("spoil", "expected", "spoiled"),
    [
        pytest.param(never, r"\[\s+0:", NAMES, id="never"),
        pytest.param(always, r"\[\],", NAMES, id="always"),
        pytest.param(at_once, r"\[\],", PATIENT, id="at-once"),
    ],
)
def test_the_tests_notice_every_alert_that_is_spoiled(
    promtool: Path,
    tmp_path: Path,
    spoil: Callable[[Alert], None],
    expected: str,
    spoiled: set[str],
) -> None:
    """One that never fires, always does, or does before its time."""
    document = copy.deepcopy(rules())
    for alert in alerts(document):
        spoil(alert)
    verdict = try_out(promtool, document, TESTS, tmp_path)
    failed = re.findall(rf"alertname: (\w+), time: \w+,\s+exp:{expected}", verdict.said)
    assert set(failed) == spoiled


def test_every_alert_has_a_severity_a_summary_and_a_section_of_the_runbook() -> None:
    sections = anchors(DOCS / "runbook.md")
    for alert in ALERTS:
        assert alert["labels"].keys() == {"severity"}, alert
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"].keys() == {"summary", "runbook"}
        path, _, section = alert["annotations"]["runbook"].partition("#")
        assert (ROOT / path, section in sections) == (DOCS / "runbook.md", True), alert["alert"]


def test_no_two_alerts_have_one_name() -> None:
    assert len(NAMES) == len(ALERTS)


def test_the_tests_give_series_the_labels_that_they_have() -> None:
    labels = {
        name.strip("`"): {one.strip() for one in cell.split(",") if one.strip()}
        for name, cell, *_ in tables(DOCS / "operations.md", "Every metric")[0]
    }
    for given in (one["series"] for test in TESTS["tests"] for one in test["input_series"]):
        name, _, braces = given.partition("{")
        assert set(re.findall(r"(\w+)=", braces)) - ADDED == labels[name], given
