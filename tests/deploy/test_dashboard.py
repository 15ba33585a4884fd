"""The dashboard is one that Grafana opens: its structure, and every expression in it."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.rules import check
from tests.documents import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/outbox-relay.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
TARGETS = [target for panel in DRAWN for target in panel["targets"]]

# What Grafana puts in, and anything that it could.
PUT_IN = {"$__rate_interval": "5m", "$job": "outbox", "$subscription": "billing"}


def expression(target: dict[str, Any]) -> str:
    """As Prometheus gets it."""
    text: str = target["expr"]
    for variable, value in PUT_IN.items():
        text = text.replace(variable, value)
    return text


def test_it_is_of_the_classic_model_as_grafana_12_and_13_have_it() -> None:
    assert DASHBOARD["schemaVersion"] == 42
    assert DASHBOARD["uid"]
    assert {panel["type"] for panel in PANELS} == {"row", "stat", "timeseries"}


def test_it_has_a_row_for_each_thing_to_look_at() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Flow", "Lag", "Endpoints", "Connectors", "Database", "Service"]


def test_every_panel_has_an_id_of_its_own_a_title_and_words() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] for panel in PANELS)
    assert all(panel["description"].endswith(".") for panel in DRAWN)


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Those of the grid that it covers."""
    at = panel["gridPos"]
    columns = range(at["x"], at["x"] + at["w"])
    return set(itertools.product(columns, range(at["y"], at["y"] + at["h"])))


def test_no_panel_covers_another_or_leaves_the_grid() -> None:
    covered = [cells(panel) for panel in PANELS]
    assert len(set().union(*covered)) == sum(len(one) for one in covered)
    assert {x for one in covered for x, _ in one} == set(range(24))


def test_every_source_of_data_is_the_one_that_is_chosen_above() -> None:
    (chosen,) = [one for one in VARIABLES if one["type"] == "datasource"]
    assert (chosen["name"], chosen["query"]) == ("datasource", "prometheus")
    named = [one["datasource"] for one in (*DRAWN, *TARGETS)]
    named += [one["datasource"] for one in VARIABLES if one is not chosen]
    assert {(one["type"], one["uid"]) for one in named} == {("prometheus", "${datasource}")}


def test_every_variable_that_is_used_is_there_and_every_other_way_round() -> None:
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([DRAWN, VARIABLES]))) - {"__rate_interval"}
    # What stands for all values of a variable.
    assert used - {"__all"} == {one["name"] for one in VARIABLES}


def test_targets_of_a_panel_have_names_of_their_own() -> None:
    for panel in DRAWN:
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) > 0, panel["title"]


def test_legends_show_labels_that_the_expression_keeps() -> None:
    for target in TARGETS:
        kept = {
            label.strip()
            for labels in re.findall(r"by \(([^)]*)\)", target["expr"])
            for label in labels.split(",")
        }
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        # What is not joined keeps all.
        assert shown <= kept or " by " not in target["expr"], target


def test_every_expression_is_one(promtool: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression(target)}
        for number, target in enumerate(TARGETS)
    ]
    verdict = check(promtool, {"groups": [{"name": "panels", "rules": rules}]}, tmp_path)
    assert verdict.ok, verdict.said
    assert f"{len(TARGETS)} rules found" in verdict.said


@pytest.mark.parametrize("wrong", ["sum(rate(a[5m])", "max by (a) b", "rate(a)"])
def test_what_is_no_expression_would_be_noticed(promtool: Path, tmp_path: Path, wrong: str) -> None:
    rules = [{"record": "panel:0", "expr": wrong}]
    verdict = check(promtool, {"groups": [{"name": "panels", "rules": rules}]}, tmp_path)
    assert not verdict.ok
